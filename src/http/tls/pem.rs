//! What PEM files of certificates and keys hold, and what is wrong with one: without its bytes, which may be a
//! key's, and in words of its own instead of a library's.

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

/// The keys that can sign handshakes.
pub const KEY_KINDS: &str = "RSA of 2,048 to 4,096 bits, ECDSA on P-256 or P-384, or Ed25519";

/// Why the certificate of a listener is refused that is X.509, but not as TLS needs it: of version 1, for example, as
/// OpenSSL signs requests without a file of extensions.
pub const UNFIT_FOR_TLS: &str = "its first certificate cannot be used in TLS: it must be of version 3, without critical \
                                 extensions that are unknown";

/// Returns the certificates of a file, of which there is at least one.
///
/// # Errors
/// What is wrong with the file.
pub fn pem_certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.map_err(|error| pem_fault(&error).to_owned())?;
    match all.is_empty() {
        true => Err("it has no PEM certificate".to_owned()),
        false => Ok(all),
    }
}

/// Returns the private key of a file.
///
/// # Errors
/// What is wrong with the file.
pub fn pem_private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        // In PKCS#8, and in the older form of OpenSSL.
        let marks = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
        let shown = String::from_utf8_lossy(text);
        let why = match error {
            _ if marks.iter().any(|mark| shown.contains(mark)) => {
                "the key is encrypted: store it without a passphrase"
            }
            Error::NoItemsFound => "it has no PEM private key",
            error => pem_fault(&error),
        };
        why.to_owned()
    })
}

/// Checks that each certificate of a chain can be read: TLS looks at the first one alone.
///
/// # Errors
/// Names the one that cannot.
pub fn check_chain(chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let is_whole = |der: &CertificateDer<'_>| {
        let parsed = parse_x509_certificate(der);
        parsed.is_ok_and(|(rest, _)| rest.is_empty())
    };
    match chain.iter().position(|der| !is_whole(der)) {
        Some(at) => Err(format!(
            "its certificate {} is not an X.509 certificate",
            at + 1
        )),
        None => Ok(()),
    }
}

/// Says what is wrong with a file.
#[must_use]
pub fn pem_fault(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "its PEM is cut off: a BEGIN line has no END line",
        Error::IllegalSectionStart { .. } => "its PEM has a BEGIN line that cannot be read",
        Error::Base64Decode(_) => "its PEM is not valid base64",
        _ => "it is not valid PEM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &str, content: &str) -> String {
        format!("-----BEGIN {name}-----\n{content}\n-----END {name}-----\n")
    }

    #[test]
    fn a_file_without_a_certificate_says_what_is_wrong_with_it() {
        let cut_off = "-----BEGIN CERTIFICATE-----\nAAAA\n".to_owned();
        for (text, expected) in [
            (String::new(), "it has no PEM certificate"),
            (cut_off, "its PEM is cut off: a BEGIN line has no END line"),
            (
                section("CERTIFICATE", "!!!!"),
                "its PEM is not valid base64",
            ),
            (section("PRIVATE KEY", "AAAA"), "it has no PEM certificate"),
        ] {
            let refused = pem_certificates(text.as_bytes()).unwrap_err();
            assert_eq!(refused, expected, "{text}");
        }
    }

    #[test]
    fn a_file_without_a_usable_key_says_what_is_wrong_with_it() {
        let fields = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA";
        let encrypted = "the key is encrypted: store it without a passphrase";
        for (text, expected) in [
            (section("RSA PRIVATE KEY", fields), encrypted),
            (section("ENCRYPTED PRIVATE KEY", "AAAA"), encrypted),
            (section("CERTIFICATE", "AAAA"), "it has no PEM private key"),
            (
                section("PRIVATE KEY", "!!!!"),
                "its PEM is not valid base64",
            ),
        ] {
            let refused = pem_private_key(text.as_bytes()).unwrap_err();
            assert_eq!(refused, expected, "{text}");
        }
    }

    #[test]
    fn a_chain_is_checked_to_its_end() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::default();
        let leaf = params.self_signed(&key).unwrap().der().clone();
        assert_eq!(check_chain(&[leaf.clone(), leaf.clone()]), Ok(()));
        let longer = CertificateDer::from([&leaf[..], &[0]].concat());
        for wrong in [CertificateDer::from(vec![1, 2, 3]), longer] {
            let refused = check_chain(&[leaf.clone(), wrong]).unwrap_err();
            assert_eq!(refused, "its certificate 2 is not an X.509 certificate");
        }
    }
}
