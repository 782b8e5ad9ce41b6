//! Certificates of a fleet for development: a CA, and one certificate for each region.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, string::Ia5String,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

use super::identity::{REGION_URI, is_authority};
use crate::http::{KEY_KINDS, check_chain, pem_certificates, pem_private_key};
use tidegate_model::RegionId;

const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";

/// Only its owner may read a key.
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

/// A certificate counts from a while ago: clocks differ.
const BEFORE: Duration = Duration::from_secs(60 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why certificates were not written.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// A file is there already.
    #[error("{0:?} exists and is not overwritten")]
    Exists(PathBuf),
    /// Two regions would have the same file, or one that of the CA.
    #[error("{0:?} would be written twice: name each region once, and none of them \"ca\"")]
    Twice(String),
    /// A file or directory cannot be read or written.
    #[error("{0:?}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// What signs would not be what the CA's certificate speaks of, so that no peer would trust it.
    #[error("{0:?} is not the key of the certificate beside it, \"ca.crt\"")]
    OtherKey(PathBuf),
    /// A file of the CA holds something else.
    #[error("{0:?}: {1}")]
    Content(PathBuf, String),
    /// The CA cannot be used, or something cannot be signed.
    #[error("{0:?}: {1}")]
    Certificate(PathBuf, #[source] rcgen::Error),
}

/// What certificates to make.
#[derive(Clone, Debug)]
pub struct CertificatesPlan<'a> {
    /// The regions, each of which gets one.
    pub regions: &'a [RegionId],
    /// Where to.
    pub directory: &'a Path,
    /// Where the CA is that signs them, if it is there already.
    pub authority: Option<&'a Path>,
    /// How many days they are valid.
    pub days: u32,
}

/// Writes the certificates and keys, and returns the files; none if one of them is there already.
///
/// # Errors
/// Names the file.
pub fn write_certificates(plan: &CertificatesPlan<'_>) -> Result<Vec<PathBuf>, CertificatesError> {
    let lifetime = DAY * plan.days;
    let mut files = Vec::new();
    let (ca, ca_key) = match plan.authority {
        Some(directory) => read_authority(directory)?,
        None => {
            let made = authority(lifetime);
            let (ca, key) =
                made.map_err(|error| CertificatesError::Certificate(CA_CERTIFICATE.into(), error))?;
            files.push((CA_CERTIFICATE.to_owned(), ca.pem(), CERTIFICATE_MODE));
            files.push((CA_KEY.to_owned(), key.serialize_pem(), KEY_MODE));
            (ca.der().clone(), key)
        }
    };
    let refused = |name: &str| {
        let file = plan.directory.join(name);
        |error| CertificatesError::Certificate(file, error)
    };
    let issuer = Issuer::from_ca_cert_der(&ca, ca_key).map_err(|error| {
        let directory = plan.authority.unwrap_or(plan.directory);
        CertificatesError::Certificate(directory.join(CA_CERTIFICATE), error)
    })?;
    for region in plan.regions {
        let made = KeyPair::generate().and_then(|key| {
            let certificate = leaf(region, lifetime)?.signed_by(&key, &issuer)?;
            Ok((certificate.pem(), key.serialize_pem()))
        });
        let (certificate, key) = made.map_err(refused(region.as_str()))?;
        files.push((format!("{region}.crt"), certificate, CERTIFICATE_MODE));
        files.push((format!("{region}.key"), key, KEY_MODE));
    }
    let mut names: Vec<_> = files.iter().map(|(name, ..)| name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(CertificatesError::Twice(pair[0].clone()));
    }
    fs::create_dir_all(plan.directory)
        .map_err(|error| CertificatesError::File(plan.directory.into(), error))?;
    let there = files.iter().map(|(name, ..)| plan.directory.join(name));
    if let Some(there) = { there }.find(|file| file.exists()) {
        return Err(CertificatesError::Exists(there));
    }
    let write = |(name, text, mode): (String, String, u32)| {
        let file = plan.directory.join(name);
        write_new(&file, &text, mode)
            .map_err(|error| CertificatesError::File(file.clone(), error))?;
        Ok(file)
    };
    files.into_iter().map(write).collect()
}

fn write_new(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(file)?;
    file.write_all(text.as_bytes())
}

fn read_authority(
    directory: &Path,
) -> Result<(CertificateDer<'static>, KeyPair), CertificatesError> {
    let read = |name: &str| {
        let file = directory.join(name);
        let content = fs::read(&file);
        content.map_err(|error| CertificatesError::File(file, error))
    };
    let key = signing_key(&read(CA_KEY)?);
    let key = key.map_err(|why| CertificatesError::Content(directory.join(CA_KEY), why))?;
    let content = |why| CertificatesError::Content(directory.join(CA_CERTIFICATE), why);
    let certificate = ca_certificate(&read(CA_CERTIFICATE)?).map_err(content)?;
    match is_key_of(&key, &certificate) {
        true => Ok((certificate, key)),
        false => Err(CertificatesError::OtherKey(directory.join(CA_KEY))),
    }
}

/// Returns the key of a CA, which can be signed with in PKCS#8 alone.
fn signing_key(text: &[u8]) -> Result<KeyPair, String> {
    let key = pem_private_key(text)?;
    if !matches!(key, PrivateKeyDer::Pkcs8(_)) {
        let rewrite = "write it anew with `openssl pkcs8 -topk8 -nocrypt`";
        return Err(format!("the key must be in PKCS#8: {rewrite}"));
    }
    KeyPair::try_from(&key).map_err(|_error| format!("the key must be {KEY_KINDS}"))
}

/// Returns the first certificate of a file, which must be a CA's.
fn ca_certificate(text: &[u8]) -> Result<CertificateDer<'static>, String> {
    let certificate = pem_certificates(text)?.swap_remove(0);
    check_chain(std::slice::from_ref(&certificate))?;
    match is_authority(&certificate) {
        true => Ok(certificate),
        false => Err("its certificate 1 is not a CA's".to_owned()),
    }
}

fn is_key_of(key: &KeyPair, certificate: &CertificateDer<'_>) -> bool {
    parse_x509_certificate(certificate).is_ok_and(|(_, certificate)| {
        let public = &certificate.public_key().subject_public_key.data;
        **public == *key.public_key_raw()
    })
}

fn authority(lifetime: Duration) -> Result<(Certificate, KeyPair), rcgen::Error> {
    let mut params = valid_for(lifetime);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "Tidegate fleet");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate, key))
}

fn leaf(region: &RegionId, lifetime: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = valid_for(lifetime);
    let uri = Ia5String::try_from(format!("{REGION_URI}{region}"))?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, region.as_str());
    Ok(params)
}

fn valid_for(lifetime: Duration) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.not_before = (now - BEFORE).into();
    params.not_after = (now + lifetime).into();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A leaf certificate to be made wrong.
    pub(crate) struct Leaf {
        pub(crate) uris: Vec<String>,
        pub(crate) host: Option<String>,
        pub(crate) for_servers: bool,
        pub(crate) for_clients: bool,
        pub(crate) is_ca: bool,
    }

    /// Returns a certificate of eu-west-1 as a CA has signed it.
    pub(crate) fn signed_leaf() -> CertificateDer<'static> {
        let (ca, ca_key) = authority(DAY).unwrap();
        let issuer = Issuer::from_ca_cert_der(ca.der(), ca_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = super::leaf(&"eu-west-1".parse().unwrap(), DAY).unwrap();
        params.signed_by(&key, &issuer).unwrap().der().clone()
    }

    /// Returns the certificate of eu-west-1, edited and signed by itself.
    pub(crate) fn leaf(edit: impl FnOnce(&mut Leaf)) -> CertificateDer<'static> {
        let mut wanted = Leaf {
            uris: vec![format!("{REGION_URI}eu-west-1")],
            host: None,
            for_servers: true,
            for_clients: true,
            is_ca: false,
        };
        edit(&mut wanted);
        let mut params = valid_for(DAY);
        let uris = wanted.uris.into_iter();
        params.subject_alt_names = uris
            .map(|it| SanType::URI(it.try_into().unwrap()))
            .collect();
        let host = wanted
            .host
            .map(|it| SanType::DnsName(it.try_into().unwrap()));
        params.subject_alt_names.extend(host);
        let usages = [
            (wanted.for_servers, ExtendedKeyUsagePurpose::ServerAuth),
            (wanted.for_clients, ExtendedKeyUsagePurpose::ClientAuth),
        ];
        let usages = usages.into_iter().filter(|(wanted, _)| *wanted);
        params.extended_key_usages = usages.map(|(_, usage)| usage).collect();
        if wanted.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan<'a>(
        regions: &'a [RegionId],
        directory: &'a Path,
        authority: Option<&'a Path>,
    ) -> CertificatesPlan<'a> {
        CertificatesPlan {
            regions,
            directory,
            authority,
            days: 1,
        }
    }

    #[test]
    fn a_ca_with_the_key_of_another_signs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [own, other, out] = ["own", "other", "out"].map(|it| folder.path().join(it));
        let regions = ["eu-west-1".parse::<RegionId>().unwrap()];
        for directory in [&own, &other] {
            write_certificates(&plan(&regions, directory, None)).unwrap();
        }
        fs::copy(other.join(CA_KEY), own.join(CA_KEY)).unwrap();
        let refused = write_certificates(&plan(&regions, &out, Some(own.as_path())));
        let refused = refused.unwrap_err().to_string();
        let expected = "own/ca.key\" is not the key of the certificate beside it, \"ca.crt\"";
        assert!(refused.ends_with(expected), "{refused}");
        assert!(!out.exists());
        let signed = write_certificates(&plan(&regions, &out, Some(other.as_path())));
        assert_eq!(signed.unwrap().len(), 2);
    }

    /// What is said of a CA in whose place something else is.
    fn refused(edit: impl FnOnce(&Path)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let [own, out] = ["own", "out"].map(|it| folder.path().join(it));
        let regions = ["eu-west-1".parse::<RegionId>().unwrap()];
        write_certificates(&plan(&regions, &own, None)).unwrap();
        edit(&own);
        let refused = write_certificates(&plan(&regions, &out, Some(own.as_path())));
        assert!(!out.exists());
        refused.unwrap_err().to_string()
    }

    #[test]
    fn a_certificate_that_is_no_cas_signs_nothing() {
        let refused = refused(|own| {
            for (leaf, ca) in [("eu-west-1.crt", CA_CERTIFICATE), ("eu-west-1.key", CA_KEY)] {
                fs::copy(own.join(leaf), own.join(ca)).unwrap();
            }
        });
        assert!(
            refused.ends_with("own/ca.crt\": its certificate 1 is not a CA's"),
            "{refused}"
        );
    }

    #[test]
    fn a_ca_that_cannot_be_read_says_what_is_wrong_with_it() {
        let section = |name| format!("-----BEGIN {name}-----\nAAAA\n-----END {name}-----\n");
        let pkcs8 = "the key must be in PKCS#8: write it anew with `openssl pkcs8 -topk8 -nocrypt`";
        for (file, text, expected) in [
            (CA_KEY, section("EC PRIVATE KEY"), pkcs8),
            (CA_KEY, section("RSA PRIVATE KEY"), pkcs8),
            (
                CA_KEY,
                section("ENCRYPTED PRIVATE KEY"),
                "the key is encrypted: store it without a passphrase",
            ),
            (CA_KEY, "junk".to_owned(), "it has no PEM private key"),
            (
                CA_CERTIFICATE,
                "junk".to_owned(),
                "it has no PEM certificate",
            ),
            (
                CA_CERTIFICATE,
                section("CERTIFICATE"),
                "its certificate 1 is not an X.509 certificate",
            ),
        ] {
            let refused = refused(|own| fs::write(own.join(file), &text).unwrap());
            let expected = format!("own/{file}\": {expected}");
            assert!(refused.ends_with(&expected), "{refused}");
        }
        let kinds = refused(|own| fs::write(own.join(CA_KEY), section("PRIVATE KEY")).unwrap());
        assert!(
            kinds.ends_with(&format!("the key must be {KEY_KINDS}")),
            "{kinds}"
        );
    }
}
