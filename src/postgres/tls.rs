//! TLS for connections to a server, using rustls with the ring provider.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::postgres::ssl_mode::SslMode;
use crate::postgres::tls_error::TlsError;
use crate::postgres::url::{RootCertificate, TlsParameters};

/// What libpq sends since PostgreSQL 17; older servers ignore it.
const ALPN: &[u8] = b"postgresql";

/// Builds the connector; files are read now, so that an invalid one is found at start.
pub(super) fn connector(
    mode: SslMode,
    parameters: &TlsParameters,
) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(mode, parameters, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Rustls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&parameters.certificate, &parameters.key) {
        (Some(certificate), Some(key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|reason| TlsError::ClientCertificate {
                path: certificate.clone(),
                reason,
            })?,
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(TlsError::HalfAPair),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(
    mode: SslMode,
    parameters: &TlsParameters,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let algorithms = provider.signature_verification_algorithms;
    let checks_chain = mode >= SslMode::VerifyCa;
    let roots = match &parameters.root_certificate {
        Some(RootCertificate::File(path)) => Some(roots_of_file(path)?),
        Some(RootCertificate::System) => Some(roots_of_system()?),
        None if checks_chain => Some(roots_of_system()?),
        None => None,
    };
    match roots {
        Some(roots) if mode == SslMode::VerifyFull => {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            Ok(verifier.build().map_err(TlsError::Verifier)?)
        }
        Some(roots) if checks_chain => Ok(Arc::new(AnyName {
            roots: Some(roots),
            algorithms,
        })),
        _ => Ok(Arc::new(AnyName {
            roots: None,
            algorithms,
        })),
    }
}

/// Checks the chain if there are roots, but never the name.
#[derive(Debug)]
struct AnyName {
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyName {
    /// Returns whether the certificate's key is checked against the handshake.
    ///
    /// It is checked even if the certificate itself is not: SCRAM's channel binding, which
    /// authenticates the server, would be useless if a copied certificate passed. Only X.509 v1,
    /// which rustls cannot read, passes unchecked, and never if the chain is verified.
    fn checks_signature(&self, certificate: &CertificateDer<'_>) -> bool {
        self.roots.is_some() || ParsedCertificate::try_from(certificate).is_ok()
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.checks_signature(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.checks_signature(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::file(path, &error))?;
    }
    Ok(roots)
}

/// Unreadable entries of the store are skipped, as by every TLS client.
fn roots_of_system() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoSystemRoots);
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| TlsError::file(path, &pem_reason(error)))?;
    if certificates.is_empty() {
        return Err(TlsError::file(path, &"it contains no PEM certificate"));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::file(path, &pem_reason(error)))
}

/// Never shows bytes of the file, which may be a key.
fn pem_reason(error: rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        _ => "it is not valid PEM".to_owned(),
    }
}
