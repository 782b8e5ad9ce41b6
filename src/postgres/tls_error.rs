//! Which certificate or key cannot be used.

use std::path::{Path, PathBuf};

/// Which certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file is missing, unreadable or malformed.
    #[error("cannot read {}: {reason}", path.display())]
    File {
        /// The file as the URL names it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system has no trusted roots.
    #[error("found no root certificates on this system; name a file in sslrootcert")]
    NoSystemRoots,
    /// Only one of `sslcert` and `sslkey` is given.
    #[error("sslcert and sslkey must be given together")]
    HalfAPair,
    /// The client's certificate does not match its key.
    #[error("cannot use sslcert {}: {reason}", path.display())]
    ClientCertificate {
        /// The certificate's file as the URL names it.
        path: PathBuf,
        /// What is wrong with it.
        reason: rustls::Error,
    },
    /// The trusted roots cannot be used.
    #[error("cannot use the trusted roots: {0}")]
    Verifier(rustls::client::VerifierBuilderError),
    /// TLS cannot be set up at all.
    #[error("cannot set up TLS: {0}")]
    Rustls(rustls::Error),
}

impl TlsError {
    pub(super) fn file(path: &Path, reason: &impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
