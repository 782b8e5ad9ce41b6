//! A certificate with its key, as two PEM files have them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ring::digest::{Context, SHA256};
use rustls::InconsistentKeys;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use tidegate_model::read_file;

use super::pem::{KEY_KINDS, UNFIT_FOR_TLS, check_chain, pem_certificates, pem_private_key};

/// Largest file that is read: a chain takes a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate of the server first, then its chain.
    pub certificate: PathBuf,
    /// PEM: the unencrypted private key.
    pub key: PathBuf,
}

/// Why a pair of files cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct CertificateError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, without any of its content.
    pub reason: String,
}

/// A certificate that is valid now, with its chain and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// What signs handshakes.
    pub(super) key: Arc<CertifiedKey>,
    /// When it expires.
    pub not_after: SystemTime,
    /// Identifies the content of its files.
    pub(super) digest: ContentDigest,
}

/// A hash of the content of both files, so that the key need not stay in memory to be compared.
pub(super) type ContentDigest = [u8; 32];

/// The bytes of both files, or why there are none.
pub(super) struct Content {
    certificate: Result<Vec<u8>, String>,
    key: Result<Vec<u8>, String>,
}

impl CertificateFiles {
    /// Reads both files.
    pub(super) fn read(&self) -> Content {
        Content {
            certificate: read(&self.certificate),
            key: read(&self.key),
        }
    }

    /// Reads a certificate that is valid now.
    ///
    /// # Errors
    /// Names the file that is missing, unreadable or not PEM, or whose certificate is not valid now
    /// or has another key.
    pub fn load(&self) -> Result<Certificate, CertificateError> {
        self.parse(&self.read(), SystemTime::now())
    }

    /// Makes a certificate of the content of the files.
    pub(super) fn parse(
        &self,
        content: &Content,
        now: SystemTime,
    ) -> Result<Certificate, CertificateError> {
        let of_certificate = |reason: String| refused(&self.certificate, reason);
        let of_key = |reason: String| refused(&self.key, reason);
        let certificate = content.certificate.clone().map_err(of_certificate)?;
        let key = content.key.clone().map_err(of_key)?;
        let chain = pem_certificates(&certificate).map_err(of_certificate)?;
        check_chain(&chain).map_err(of_certificate)?;
        let not_after = check_validity(&chain[0], now).map_err(of_certificate)?;
        let key = pem_private_key(&key).map_err(of_key)?;
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => of_key(format!(
                "it is not the key of the first certificate in {}",
                self.certificate.display()
            )),
            rustls::Error::General(_) => of_key(format!("the key must be {KEY_KINDS}")),
            rustls::Error::InvalidCertificate(_) => of_certificate(UNFIT_FOR_TLS.to_owned()),
            error => of_key(format!("it cannot be used: {error}")),
        })?;
        Ok(Certificate {
            key: Arc::new(key),
            not_after,
            digest: content.digest(),
        })
    }
}

impl Content {
    pub(super) fn digest(&self) -> ContentDigest {
        let mut all = Context::new(&SHA256);
        for file in [&self.certificate, &self.key] {
            let bytes = file.as_ref().map_or_else(String::as_bytes, Vec::as_slice);
            all.update(&[u8::from(file.is_ok())]);
            all.update(&bytes.len().to_be_bytes());
            all.update(bytes);
        }
        let mut digest = ContentDigest::default();
        digest.copy_from_slice(all.finish().as_ref());
        digest
    }
}

pub(super) fn refused(path: &Path, reason: String) -> CertificateError {
    let path = path.to_owned();
    CertificateError { path, reason }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |why: &dyn fmt::Display| format!("it cannot be read: {why}");
    read_file(path, FILE_BYTES_MAX).map_err(|error| unreadable(&error))
}

/// Returns when a certificate that is valid now expires.
fn check_validity(der: &CertificateDer<'_>, now: SystemTime) -> Result<SystemTime, String> {
    let invalid = |error| format!("its first certificate is not valid X.509: {error}");
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(invalid)?;
    let validity = certificate.validity();
    let not_before = since_epoch(validity.not_before.timestamp());
    let not_after = since_epoch(validity.not_after.timestamp());
    let shown = humantime::format_rfc3339_seconds;
    if now < not_before {
        return Err(format!("it is not valid before {}", shown(not_before)));
    }
    if now > not_after {
        return Err(format!("it expired on {}", shown(not_after)));
    }
    Ok(not_after)
}

/// A time before 1970 counts as the beginning of that year.
fn since_epoch(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
