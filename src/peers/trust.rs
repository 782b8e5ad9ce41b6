//! The fleet's CA, and who it vouches for.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, ServerName, TrustAnchor, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme};
use webpki::{
    CertRevocationList, EndEntityCert, KeyUsage, OwnedCertRevocationList, RevocationOptionsBuilder,
    UnknownStatusPolicy, anchor_from_trusted_cert,
};
use x509_parser::parse_x509_crl;

use super::identity::{is_authority, region_of};
use super::refusal::Refusal;
use tidegate_model::RegionId;

/// Verifies peers on both sides of a connection: by the fleet's CA and their region, never by a host name.
#[derive(Debug)]
pub(super) struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    revoked: Vec<CertRevocationList<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    /// Makes the trust in CAs, with their lists of revoked certificates.
    ///
    /// # Errors
    /// Says which of them cannot be used.
    pub(super) fn new(
        authorities: &[CertificateDer<'_>],
        lists: &[CertificateRevocationListDer<'_>],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let anchor = |(at, ca): (usize, &CertificateDer<'_>)| match anchor_from_trusted_cert(ca) {
            // Whoever has its key, a region's gateways for example, could sign for every region.
            Ok(_) if !is_authority(ca) => Err(format!("its certificate {} is not a CA's", at + 1)),
            Ok(anchor) => Ok(anchor.to_owned()),
            Err(_) => Err(format!("its certificate {} cannot be used as a CA", at + 1)),
        };
        let list = |(at, list): (usize, &CertificateRevocationListDer<'_>)| {
            let read = OwnedCertRevocationList::from_der(list).map(CertRevocationList::from);
            read.map_err(|_error| {
                format!("its list {} of revoked certificates cannot be read", at + 1)
            })
        };
        let anchors = authorities.iter().enumerate().map(anchor);
        let revoked = lists.iter().enumerate().map(list);
        Ok(Self {
            anchors: anchors.collect::<Result<_, _>>()?,
            revoked: revoked.collect::<Result<_, _>>()?,
            provider,
        })
    }

    /// Returns the region that a certificate speaks for.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<RegionId, Refusal> {
        let revoked: Vec<_> = self.revoked.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&revoked).ok().map(|options| {
            options
                .with_status_policy(UnknownStatusPolicy::Allow)
                .build()
        });
        let region = region_of(leaf);
        EndEntityCert::try_from(leaf)?.verify_for_usage(
            self.provider.signature_verification_algorithms.all,
            &self.anchors,
            intermediates,
            now,
            usage,
            revocation,
            None,
        )?;
        region
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Returns whether a list of revoked certificates is of the first version, which cannot be read: it has no
/// extensions.
pub(super) fn is_version_1(list: &CertificateRevocationListDer<'_>) -> bool {
    parse_x509_crl(list).is_ok_and(|(_, list)| list.version().is_none())
}

/// Only TLS 1.3 is spoken.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(leaf, intermediates, now, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Trust {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(leaf, intermediates, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::certificates::testing::{leaf, signed_leaf};

    /// A list that revokes nothing, of a CA without a name; what `version` is stands first.
    fn list(version: &[u8]) -> CertificateRevocationListDer<'static> {
        let algorithm = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02".as_slice();
        let issued = b"\x30\x00\x17\x0d260101000000Z".as_slice();
        let sequence = |content: &[u8]| [[0x30, content.len() as u8].as_slice(), content].concat();
        let told = sequence(&[version, algorithm, issued].concat());
        let signature = b"\x03\x02\x00\x00".as_slice();
        sequence(&[told.as_slice(), algorithm, signature].concat()).into()
    }

    #[test]
    fn lists_of_the_first_version_are_told_apart() {
        assert!(is_version_1(&list(b"")));
        assert!(!is_version_1(&list(b"\x02\x01\x01")));
        assert!(!is_version_1(&CertificateRevocationListDer::from(vec![1])));
    }

    #[test]
    fn a_certificate_that_is_no_cas_is_not_trusted_as_one() {
        let trust = |ca: CertificateDer<'static>| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            Trust::new(&[ca], &[], provider).map(drop)
        };
        let refused = Err("its certificate 1 is not a CA's".to_owned());
        assert_eq!(trust(signed_leaf()), refused);
        assert_eq!(trust(leaf(|it| it.is_ca = true)), Ok(()));
        // It says neither, and has signed itself.
        assert_eq!(trust(leaf(|_| {})), Ok(()));
    }
}
