//! TLS on a listener: one certificate for every name, its renewal, and bounded handshakes.
//!
//! A [`TlsAcceptor`] holds the configuration that new connections use; a renewal replaces it as a
//! whole, and connections that are open keep theirs. Deliberately absent: certificates by server
//! name, early data, renegotiation and every cipher without forward secrecy or without AEAD.

mod pem;
mod certificate;
mod roots;
mod settings;
mod cleartext;
mod handshakes;
mod acceptor;
mod renewal;

pub use acceptor::{TlsAcceptor, TlsSetupError};
pub(super) use acceptor::{begins_tls, chose_http2};
pub use certificate::{Certificate, CertificateError, CertificateFiles};
pub(super) use cleartext::refuse_cleartext;
pub use handshakes::Handshakes;
pub use pem::{
    KEY_KINDS, UNFIT_FOR_TLS, check_chain, pem_certificates, pem_fault, pem_private_key,
};
pub use roots::roots;
pub use settings::{TLS_CERT, TLS_KEY, TLS_SECTION};
