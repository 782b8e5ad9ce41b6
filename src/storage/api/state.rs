//! What handlers need.

use std::sync::Arc;

use super::sizes::Sizes;
use crate::auth::Verifier;
use crate::storage::{KeyRegistry, Store, ThisGateway};

/// What handlers need.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) store: Arc<Store>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) this: Arc<ThisGateway>,
    pub(super) sizes: Arc<Sizes>,
}

impl Api {
    pub(super) fn keys(&self) -> KeyRegistry<'_> {
        KeyRegistry(self.store.registry())
    }
}
