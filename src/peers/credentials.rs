//! The certificate, key and CA of this gateway: a set that fits, or none.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, InconsistentKeys, ServerConfig};
use webpki::KeyUsage;

use super::identity::{not_after, not_before};
use super::refusal::Refusal;
use super::trust::{Trust, is_version_1};
use super::untimely::Untimely;
use crate::http::{
    KEY_KINDS, UNFIT_FOR_TLS, check_chain, pem_certificates, pem_fault, pem_private_key,
};
use tidegate_model::{RegionId, read_file};

/// HTTP/2 alone is spoken between gateways.
const ALPN: &[u8] = b"h2";

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the set is.
#[derive(Clone, Debug)]
pub struct CredentialFiles {
    /// `FLEET_CERT`.
    pub certificate: PathBuf,
    /// `FLEET_KEY`.
    pub key: PathBuf,
    /// `FLEET_CA`, which may also hold lists of revoked certificates.
    pub authority: PathBuf,
}

/// What a gateway shows its peers and judges them by.
#[derive(Clone)]
pub struct Credentials {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    trust: Arc<Trust>,
    leaf: CertificateDer<'static>,
    /// When the certificate ends, in seconds since the epoch.
    pub(super) not_after: i64,
}

/// Why a set does not count.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("{0} = {1:?} cannot be read: {2}")]
    Unreadable(&'static str, PathBuf, #[source] io::Error),
    /// A file holds something else.
    #[error("{0} = {1:?}: {2}")]
    Content(&'static str, PathBuf, String),
    /// The certificate is not one that a peer would accept.
    #[error("FLEET_CERT = {0:?}: {1}")]
    Refused(PathBuf, #[source] Refusal),
    /// The certificate is valid at another time.
    #[error("FLEET_CERT = {0:?}: the certificate {1}")]
    Untimely(PathBuf, Untimely),
    /// The certificate is another region's.
    #[error("FLEET_CERT = {0:?}: the certificate is of {1}, but this gateway's region is {2}")]
    Region(PathBuf, RegionId, RegionId),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl CredentialFiles {
    /// Reads the set of a region.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn read(&self, region: &RegionId) -> Result<Credentials, CredentialsError> {
        self.read_as_of(region, |_leaf| UnixTime::now())
    }

    /// The same, with a certificate that may be expired or not valid yet: its peers refuse it until it is
    /// renewed, and the region is served alone meanwhile. Returns which it is.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn read_at_start(
        &self,
        region: &RegionId,
    ) -> Result<(Credentials, Option<Untimely>), CredentialsError> {
        let untimely = match self.read(region) {
            Ok(read) => return Ok((read, None)),
            Err(CredentialsError::Untimely(_, untimely)) => untimely,
            Err(error) => return Err(error),
        };
        let within = |leaf: &CertificateDer<'_>| {
            let valid = match untimely {
                Untimely::Early => not_before(leaf),
                Untimely::Expired => not_after(leaf),
            };
            let valid = valid.and_then(|at| u64::try_from(at).ok());
            UnixTime::since_unix_epoch(Duration::from_secs(valid.unwrap_or_default()))
        };
        match self.read_as_of(region, within) {
            // Then it is another certificate of the chain, which makes this one worth nothing at any time.
            Err(CredentialsError::Untimely(file, _)) => {
                Err(CredentialsError::Refused(file, Refusal::Expired))
            }
            read => Ok((read?, Some(untimely))),
        }
    }

    fn read_as_of(
        &self,
        region: &RegionId,
        time: impl Fn(&CertificateDer<'_>) -> UnixTime,
    ) -> Result<Credentials, CredentialsError> {
        let content = |why: String| self.of_certificate(why);
        let certificates = pem_certificates(&read("FLEET_CERT", &self.certificate)?);
        let certificates = certificates.map_err(content)?;
        check_chain(&certificates).map_err(content)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = self.private_key(&certificates, &provider)?;
        let trust = Arc::new(self.trust(&provider)?);
        let Some((leaf, intermediates)) = certificates.split_first() else {
            return Err(content("there is no certificate".to_owned()));
        };
        for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
            let of = trust.verify(leaf, intermediates, time(leaf), usage);
            let of = of.map_err(|refusal| self.refused(leaf, refusal))?;
            if of != *region {
                let file = self.certificate.clone();
                return Err(CredentialsError::Region(file, of, region.clone()));
            }
        }
        let (server, client) = configurations(&certificates, &key, &trust, &provider)
            .map_err(|error| content(error.to_string()))?;
        Ok(Credentials {
            server: Arc::new(server),
            client: Arc::new(client),
            trust,
            not_after: not_after(leaf).unwrap_or(i64::MAX),
            leaf: leaf.clone(),
        })
    }

    /// Reads the key, which must be that of the first certificate.
    fn private_key(
        &self,
        certificates: &[CertificateDer<'static>],
        provider: &CryptoProvider,
    ) -> Result<PrivateKeyDer<'static>, CredentialsError> {
        let content = |why: String| CredentialsError::Content("FLEET_KEY", self.key.clone(), why);
        let key = pem_private_key(&read("FLEET_KEY", &self.key)?).map_err(content)?;
        let signing = provider.key_provider.load_private_key(key.clone_key());
        let signing = signing.map_err(|_error| content(format!("the key must be {KEY_KINDS}")))?;
        match CertifiedKey::new(certificates.to_vec(), signing).keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(key),
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(content(
                "the key does not belong to the certificate".to_owned(),
            )),
            Err(_) => Err(self.of_certificate(UNFIT_FOR_TLS.to_owned())),
        }
    }

    fn trust(&self, provider: &Arc<CryptoProvider>) -> Result<Trust, CredentialsError> {
        let file = &self.authority;
        let content = |why: String| CredentialsError::Content("FLEET_CA", file.clone(), why);
        let text = read("FLEET_CA", file)?;
        let all = pem_certificates(&text).map_err(content)?;
        let lists: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(&text).collect();
        let lists = lists.map_err(|error| content(pem_fault(&error).to_owned()))?;
        if lists.iter().any(is_version_1) {
            return Err(content(
                "the list of revoked certificates must be version 2: with OpenSSL, set `crlnumber`"
                    .to_owned(),
            ));
        }
        Trust::new(&all, &lists, Arc::clone(provider)).map_err(content)
    }

    fn of_certificate(&self, why: String) -> CredentialsError {
        CredentialsError::Content("FLEET_CERT", self.certificate.clone(), why)
    }

    fn refused(&self, leaf: &CertificateDer<'_>, refusal: Refusal) -> CredentialsError {
        let file = self.certificate.clone();
        match (refusal, Untimely::of(leaf)) {
            (Refusal::Expired, Some(untimely)) => CredentialsError::Untimely(file, untimely),
            (refusal, _) => CredentialsError::Refused(file, refusal),
        }
    }
}

impl Credentials {
    /// Returns the region of a peer's certificates, as of now.
    ///
    /// # Errors
    /// Why they are not accepted.
    pub(super) fn region_of(
        &self,
        certificates: &[CertificateDer<'_>],
    ) -> Result<RegionId, Refusal> {
        let (leaf, intermediates) = certificates.split_first().ok_or(Refusal::None)?;
        self.trust.verify(
            leaf,
            intermediates,
            UnixTime::now(),
            KeyUsage::client_auth(),
        )
    }

    /// Returns whether both are of the same certificate.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.leaf == other.leaf
    }
}

fn configurations(
    certificates: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    trust: &Arc<Trust>,
    provider: &Arc<CryptoProvider>,
) -> Result<(ServerConfig, ClientConfig), rustls::Error> {
    let mut server = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::clone(trust) as _)
        .with_single_cert(certificates.to_vec(), key.clone_key())?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    // A session that is taken up again would outlive its certificate.
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(trust) as _)
        .with_client_auth_cert(certificates.to_vec(), key.clone_key())?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = rustls::client::Resumption::disabled();
    Ok((server, client))
}

fn read(variable: &'static str, file: &Path) -> Result<Vec<u8>, CredentialsError> {
    let unreadable = |error| CredentialsError::Unreadable(variable, file.into(), error);
    read_file(file, FILE_BYTES_MAX).map_err(unreadable)
}
