//! Which region a certificate speaks for, and whether it is a CA's.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::refusal::Refusal;
use tidegate_model::RegionId;

/// What the URI that names a region begins with.
pub(super) const REGION_URI: &str = "tidegate://region/";

/// Returns the region of a leaf certificate: of exactly one URI `tidegate://region/…`, usable by servers and
/// clients, not a CA. Host names and SANs of other kinds or schemes count for nothing.
///
/// # Errors
/// Why it speaks for no region.
pub(super) fn region_of(leaf: &CertificateDer<'_>) -> Result<RegionId, Refusal> {
    let (_, certificate) = parse_x509_certificate(leaf).map_err(|_error| Refusal::Untrusted)?;
    if is_ca(&certificate) || !is_for_both_sides(&certificate) {
        return Err(Refusal::Usage);
    }
    let mut uris = region_uris(&certificate).into_iter();
    match (uris.next(), uris.next()) {
        (Some(region), None) => region.parse().map_err(|_error| Refusal::NoRegion),
        _ => Err(Refusal::NoRegion),
    }
}

/// Returns when a certificate begins to be valid, in seconds since the epoch.
pub(super) fn not_before(leaf: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = parse_x509_certificate(leaf).ok()?;
    Some(certificate.validity().not_before.timestamp())
}

/// Returns when a certificate ends, in seconds since the epoch.
pub(super) fn not_after(leaf: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = parse_x509_certificate(leaf).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Returns whether a certificate is a CA's: by its basic constraints, and without them, as in version 1, if it names
/// itself as its issuer. What cannot be read is none.
pub(super) fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else {
        return false;
    };
    let constraints = certificate.basic_constraints();
    match constraints {
        Ok(Some(constraints)) => constraints.value.ca,
        Ok(None) => certificate.subject().as_raw() == certificate.issuer().as_raw(),
        Err(_) => false,
    }
}

fn region_uris<'a>(certificate: &'a X509Certificate<'_>) -> Vec<&'a str> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |it| &it.value.general_names);
    let region = |name: &'a GeneralName<'_>| match name {
        GeneralName::URI(uri) => uri.strip_prefix(REGION_URI),
        _ => None,
    };
    names.iter().filter_map(region).collect()
}

fn is_ca(certificate: &X509Certificate<'_>) -> bool {
    let constraints = certificate.basic_constraints();
    constraints.map_or(true, |it| it.is_some_and(|it| it.value.ca))
}

fn is_for_both_sides(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.extended_key_usage().ok().flatten();
    usage.is_some_and(|it| it.value.server_auth && it.value.client_auth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::certificates::testing::{Leaf, leaf};

    #[test]
    fn a_certificate_speaks_for_the_one_region_that_its_uri_names() {
        let region = |edit: fn(&mut Leaf)| region_of(&leaf(edit)).map(|it| it.to_string());
        assert_eq!(region(|_| {}), Ok("eu-west-1".to_owned()));
        let others = |leaf: &mut Leaf| {
            leaf.uris.insert(0, "https://us-east-1".to_owned());
            leaf.host = Some("us-east-1".to_owned());
        };
        assert_eq!(region(others), Ok("eu-west-1".to_owned()));
    }

    #[test]
    fn any_other_certificate_is_refused_by_its_reason() {
        let refused = |edit: fn(&mut Leaf)| region_of(&leaf(edit)).unwrap_err();
        assert_eq!(refused(|leaf| leaf.uris.clear()), Refusal::NoRegion);
        let twice = |leaf: &mut Leaf| leaf.uris.push(format!("{REGION_URI}us-east-1"));
        assert_eq!(refused(twice), Refusal::NoRegion);
        let no_name = |leaf: &mut Leaf| leaf.uris = vec![REGION_URI.to_owned()];
        assert_eq!(refused(no_name), Refusal::NoRegion);
        assert_eq!(refused(|leaf| leaf.for_servers = false), Refusal::Usage);
        assert_eq!(refused(|leaf| leaf.for_clients = false), Refusal::Usage);
        assert_eq!(refused(|leaf| leaf.is_ca = true), Refusal::Usage);
        assert_eq!(
            region_of(&CertificateDer::from(vec![1, 2, 3])),
            Err(Refusal::Untrusted)
        );
    }
}
