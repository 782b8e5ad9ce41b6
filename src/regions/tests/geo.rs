//! A small address database, damaged in every place.

use std::sync::Arc;

use super::address_database::address_database;
use super::{goes_to, head, in_force};
use crate::regions::GeoDatabase;

const POLICY: &str = "\
region eu-west-1
region us-east-1
policy french { match country in (FR) prefer us-east-1 }
policy others { prefer nearest(eu-west-1, us-east-1) }
";

fn networks() -> Vec<u8> {
    address_database(&[
        (81, "FR", 48.9, 2.4),
        (54, "US", 39.0, -77.5),
        (77, "??", 1e9, f64::NAN),
    ])
}

#[tokio::test]
async fn a_client_is_where_the_database_says_unless_the_cdn_says_otherwise() {
    let geo = Arc::new(GeoDatabase::of(networks()).unwrap());
    let traffic = in_force(POLICY, Some(geo), Vec::new());
    let ireland = [
        ("cloudfront-viewer-latitude", "53.3"),
        ("cloudfront-viewer-longitude", "-6.3"),
        ("x-forwarded-for", "54.1.2.3"),
    ];
    for (client, fields, expected) in [
        ("81.2.3.4", &[][..], "us-east-1"),
        ("54.2.3.4", &[], "us-east-1"),
        ("::ffff:54.2.3.4", &[], "us-east-1"),
        ("10.1.2.3", &ireland[2..], "us-east-1"),
        ("10.1.2.3", &ireland, "eu-west-1"),
        ("54.2.3.4", &ireland[..2], "us-east-1"),
        // Unknown, nonsense, and an address that the database cannot have.
        ("99.2.3.4", &[], "eu-west-1"),
        ("77.2.3.4", &[], "eu-west-1"),
        ("2001:db8::1", &[], "eu-west-1"),
    ] {
        assert_eq!(
            goes_to(&traffic, &head(client, fields)),
            expected,
            "{client} {fields:?}"
        );
    }
}

#[test]
fn a_damaged_database_is_refused_or_harmless() {
    let whole = networks();
    let address = |first: u8| std::net::IpAddr::from([first, 1, 1, 1]);
    for length in 0..whole.len() {
        assert!(
            GeoDatabase::of(whole[..length].to_vec()).is_err(),
            "{length}"
        );
    }
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            if let Ok(database) = GeoDatabase::of(damaged) {
                for first in [0, 54, 77, 81, 255] {
                    let _anything_but_a_panic = database.locate(address(first));
                }
            }
        }
    }
    assert!(GeoDatabase::of(b"nothing".to_vec()).is_err());
}
