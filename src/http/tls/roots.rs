//! The certificates that other servers are verified with.

use std::path::Path;

use rustls::RootCertStore;

use super::certificate::{CertificateError, read, refused};
use super::pem::pem_certificates;

/// Reads the roots of a PEM file; without one, those of the system, or of `SSL_CERT_FILE` in their
/// place. Unreadable entries of the system are skipped, as by every TLS client.
///
/// # Errors
/// Names the file that cannot be read or holds no usable certificate, or the system if it has none.
pub fn roots(file: Option<&Path>) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return match roots.is_empty() {
            true => Err(refused(
                Path::new("the system"),
                "it has no root certificates".to_owned(),
            )),
            false => Ok(roots),
        };
    };
    let certificates = read(file).and_then(|pem| pem_certificates(&pem));
    for certificate in certificates.map_err(|reason| refused(file, reason))? {
        let unusable = |error| refused(file, format!("it holds no usable root: {error}"));
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(roots)
}
