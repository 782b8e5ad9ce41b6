//! The certificate, key and CA of this gateway: a set that fits, or none.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use webpki::KeyUsage;

use super::identity::{not_after, not_before};
use super::refusal::Refusal;
use super::trust::{Trust, is_version_1};
use tidegate_model::{RegionId, read_file};

/// HTTP/2 alone is spoken between gateways.
const ALPN: &[u8] = b"h2";

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Stands in the PEM of an encrypted key, in either of its two forms.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

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
    /// renewed, and the region is served alone meanwhile.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn read_at_start(&self, region: &RegionId) -> Result<Credentials, CredentialsError> {
        let read = self.read(region);
        let Err(CredentialsError::Refused(file, Refusal::Expired)) = &read else {
            return read;
        };
        let is_early = self.certificates()?.first().is_some_and(is_early);
        match is_early {
            true => {
                tracing::error!(
                    ?file,
                    "the fleet's certificate is not valid yet: peers refuse it"
                );
            }
            false => tracing::error!(?file, "the fleet's certificate is expired: peers refuse it"),
        }
        let within = |leaf: &CertificateDer<'_>| {
            let valid = match is_early {
                true => not_before(leaf),
                false => not_after(leaf),
            };
            let valid = valid.and_then(|at| u64::try_from(at).ok());
            UnixTime::since_unix_epoch(Duration::from_secs(valid.unwrap_or_default()))
        };
        self.read_as_of(region, within)
    }

    fn read_as_of(
        &self,
        region: &RegionId,
        time: impl Fn(&CertificateDer<'_>) -> UnixTime,
    ) -> Result<Credentials, CredentialsError> {
        let certificates = self.certificates()?;
        let content = |why: String| CredentialsError::Content("FLEET_KEY", self.key.clone(), why);
        let text = read("FLEET_KEY", &self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&text);
        let key = key.map_err(|error| content(no_key(&text, &error)))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let signing = provider.key_provider.load_private_key(key.clone_key());
        let signing = signing.map_err(|error| content(error.to_string()))?;
        let fits = CertifiedKey::new(certificates.clone(), signing).keys_match();
        fits.map_err(|_error| content("the key does not belong to the certificate".to_owned()))?;
        let trust = Arc::new(self.trust(&provider)?);
        let Some((leaf, intermediates)) = certificates.split_first() else {
            return Err(content("there is no certificate".to_owned()));
        };
        for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
            let of = trust.verify(leaf, intermediates, time(leaf), usage);
            let refused = |refusal| CredentialsError::Refused(self.certificate.clone(), refusal);
            let of = of.map_err(refused)?;
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

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
        let file = &self.certificate;
        let text = read("FLEET_CERT", file)?;
        let content = |why: String| CredentialsError::Content("FLEET_CERT", file.clone(), why);
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let all = all.map_err(|error| content(error.to_string()))?;
        match all.is_empty() {
            true => Err(content("it has no PEM certificate".to_owned())),
            false => Ok(all),
        }
    }

    fn trust(&self, provider: &Arc<CryptoProvider>) -> Result<Trust, CredentialsError> {
        let file = &self.authority;
        let text = read("FLEET_CA", file)?;
        let content = |why: String| CredentialsError::Content("FLEET_CA", file.clone(), why);
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let all = all.map_err(|error| content(error.to_string()))?;
        if all.is_empty() {
            return Err(content("it has no PEM certificate".to_owned()));
        }
        let lists: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(&text).collect();
        let lists = lists.map_err(|error| content(error.to_string()))?;
        if lists.iter().any(is_version_1) {
            return Err(content(
                "the list of revoked certificates must be version 2: with OpenSSL, set `crlnumber`"
                    .to_owned(),
            ));
        }
        Trust::new(&all, &lists, Arc::clone(provider)).map_err(|error| content(error.to_string()))
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

/// Whether a certificate is not valid yet.
fn is_early(leaf: &CertificateDer<'static>) -> bool {
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    not_before(leaf).is_some_and(|begin| begin > now)
}

/// Why a file has no key that can be used.
fn no_key(text: &[u8], error: &pem::Error) -> String {
    let is_encrypted = text.windows(ENCRYPTED.len()).any(|it| it == ENCRYPTED);
    match error {
        _ if is_encrypted => "the key is encrypted: store it without a passphrase".to_owned(),
        pem::Error::NoItemsFound => "it has no PEM private key".to_owned(),
        error => error.to_string(),
    }
}

fn read(variable: &'static str, file: &Path) -> Result<Vec<u8>, CredentialsError> {
    let unreadable = |error| CredentialsError::Unreadable(variable, file.into(), error);
    read_file(file, FILE_BYTES_MAX).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_usable_key_says_what_it_has_instead() {
        let why = |text: &str| {
            let read = PrivateKeyDer::from_pem_slice(text.as_bytes());
            no_key(text.as_bytes(), &read.unwrap_err())
        };
        for name in ["RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            let fields = match name {
                "RSA PRIVATE KEY" => "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n",
                _ => "",
            };
            let text = format!("-----BEGIN {name}-----\n{fields}AAAA\n-----END {name}-----\n");
            assert!(why(&text).starts_with("the key is encrypted"), "{name}");
        }
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(why(certificate), "it has no PEM private key");
    }

    #[test]
    fn a_certificate_that_is_not_valid_yet_is_told_from_an_expired_one() {
        let of = |begin, end| {
            let mut params = rcgen::CertificateParams::default();
            params.not_before = rcgen::date_time_ymd(begin, 1, 1);
            params.not_after = rcgen::date_time_ymd(end, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            params.self_signed(&key).unwrap().der().clone()
        };
        assert!(is_early(&of(2100, 2101)));
        assert!(!is_early(&of(2000, 2001)));
    }
}
