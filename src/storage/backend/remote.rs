//! A bucket that is reached over HTTP, whoever its provider is.

use std::fmt;
use std::sync::Arc;

use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use object_store::{ObjectStore, RetryConfig};

use crate::storage::StorageError;

/// A bucket at a provider.
#[derive(Clone)]
pub(in crate::storage) struct Remote {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(in crate::storage) parts: Arc<dyn MultipartStore>,
    pub(super) signer: Arc<dyn Signer>,
}

impl Remote {
    pub(super) fn of(store: impl ObjectStore + MultipartStore + Signer) -> Self {
        let store = Arc::new(store);
        Self {
            objects: Arc::clone(&store) as Arc<dyn ObjectStore>,
            parts: Arc::clone(&store) as Arc<dyn MultipartStore>,
            signer: store,
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.objects)
    }
}

/// What is next after a failure is decided above.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

/// What is declared in a field cannot be used.
pub(super) fn unusable(field: &str, error: &object_store::Error) -> StorageError {
    let why = tidegate_model::error_chain::chain(error);
    StorageError::Invalid(format!("{field}: {why}"))
}
