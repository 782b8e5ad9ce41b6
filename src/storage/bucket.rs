//! A vendor's bucket: where it is, what may be written to it, and the credentials for it.

use std::net::IpAddr;

use reqwest::Url;

use super::credentials::BucketCredentials;
use super::provider::Provider;

/// A bucket that is to be added.
#[derive(Debug, Clone)]
pub struct NewBucket {
    /// Its name here.
    pub name: String,
    /// Whose it is.
    pub provider: Provider,
    /// The provider's region.
    pub region: String,
    /// Where it is.
    pub url: String,
    /// The share of the credit up to which it is preferred, 0 to 1.
    pub soft_cap: f64,
    /// Bytes that may be written in a month.
    pub credit: Option<u64>,
    /// Bytes that it may hold.
    pub quota: Option<u64>,
    /// USD for a GB that is read.
    pub price_out: Option<f64>,
}

/// A bucket as the database has it.
#[derive(Debug, Clone)]
pub struct BucketRow {
    /// Its id.
    pub id: String,
    /// What was declared.
    pub declared: NewBucket,
    /// Absent for files.
    pub credentials: Option<BucketCredentials>,
    /// Whether it takes writes.
    pub writes: bool,
    /// Whether its copies are moved to other buckets; it takes no writes then.
    pub draining: bool,
    /// Bytes stored, reserved and not yet swept.
    pub held: u64,
    /// Bytes written in this month.
    pub written: u64,
}

impl BucketRow {
    /// Returns the bytes of this month up to which it is preferred.
    #[must_use]
    pub fn soft_limit(&self) -> Option<u64> {
        let share = self.declared.soft_cap;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a credit need not be exact"
        )]
        let limit = |credit: u64| (credit as f64 * share) as u64;
        self.declared.credit.map(limit)
    }
}

/// The parts of a bucket's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// Scheme, host and port; absent where the provider's own is meant.
    pub(super) endpoint: Option<String>,
    /// The vendor's name of the bucket, or the directory.
    pub(super) bucket: String,
}

impl Location {
    /// Azure's storage account: the first label of the host, or the first segment of the path where the
    /// host is not named after it.
    pub(super) fn account(&self) -> &str {
        let endpoint = self.endpoint.as_deref().unwrap_or_default();
        let (_, rest) = endpoint.split_once("://").unwrap_or_default();
        match rest.split_once('/') {
            Some((_, account)) => account,
            None => rest.split('.').next().unwrap_or_default(),
        }
    }
}

/// Whether the token of a role may be sent to an endpoint: whoever reads it has the role for an hour.
fn is_providers_own(endpoint: &str) -> bool {
    const SUFFIXES: [&str; 4] = [
        ".amazonaws.com",
        ".blob.core.windows.net",
        ".blob.core.usgovcloudapi.net",
        ".blob.core.chinacloudapi.cn",
    ];
    let Some(host) = endpoint.strip_prefix("https://") else {
        return false;
    };
    host == "storage.googleapis.com"
        || !host.contains(['/', ':']) && SUFFIXES.iter().any(|suffix| host.ends_with(suffix))
}

impl NewBucket {
    /// Takes the URL apart, and compares provider and credentials with it.
    ///
    /// # Errors
    /// Says what is expected.
    pub(super) fn opened_by(
        &self,
        credentials: Option<&BucketCredentials>,
    ) -> Result<Location, String> {
        let location = self.location()?;
        match (credentials, &location.endpoint) {
            (None, _) if self.provider == Provider::File => {}
            (None, _) => return Err("the bucket has no credentials".to_owned()),
            (Some(credentials @ BucketCredentials::Role { .. }), Some(endpoint)) => {
                credentials.suit(self.provider)?;
                if !is_providers_own(endpoint) {
                    let why = "url: a role is used at the provider's own endpoints only";
                    return Err(why.to_owned());
                }
            }
            (Some(credentials), _) => credentials.suit(self.provider)?,
        }
        Ok(location)
    }

    /// Takes the URL apart.
    ///
    /// # Errors
    /// Says what is expected of the URL.
    pub(super) fn location(&self) -> Result<Location, String> {
        let url = Url::parse(&self.url).map_err(|error| format!("url: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("url: it must not contain credentials".to_owned());
        }
        let host = || url.host_str().unwrap_or_default().to_owned();
        match (self.provider, url.scheme()) {
            (Provider::File, "file") => Ok(Location {
                endpoint: None,
                bucket: url.path().to_owned(),
            }),
            (Provider::File, _) => Err("url: expected file:///directory".to_owned()),
            (Provider::Aws, "s3") => Ok(Location {
                endpoint: None,
                bucket: host(),
            }),
            (Provider::Gcp, "gs") => Ok(Location {
                endpoint: Some("https://storage.googleapis.com".to_owned()),
                bucket: host(),
            }),
            (_, "http" | "https") => of_endpoint(&url, self.provider),
            (Provider::Azure, _) => {
                Err("url: expected https://account.blob.core.windows.net/container".to_owned())
            }
            _ => Err("url: expected https://host/bucket".to_owned()),
        }
    }
}

fn of_endpoint(url: &Url, provider: Provider) -> Result<Location, String> {
    let path = url.path().trim_matches('/');
    // Emulators of Azure have the account in the path.
    let (account, bucket) = match path.split_once('/') {
        Some((account, container)) if provider == Provider::Azure => {
            (format!("/{account}"), container)
        }
        _ => (String::new(), path),
    };
    if bucket.is_empty() || bucket.contains('/') || url.query().is_some() {
        return Err("url: expected https://host/bucket".to_owned());
    }
    let host = url.host_str().unwrap_or_default();
    if is_forbidden(host) {
        return Err(format!("url: {host} is a link-local or metadata address"));
    }
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    Ok(Location {
        endpoint: Some(format!("{}://{host}{port}{account}", url.scheme())),
        bucket: bucket.to_owned(),
    })
}

/// Whether a host must not be an endpoint: what answers there may give credentials away.
pub(super) fn is_forbidden(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => is_forbidden_address(address),
        Err(_) => {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            host == "metadata" || host == "metadata.google.internal" || host == "instance-data"
        }
    }
}

/// The same of an address.
pub(super) fn is_forbidden_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.octets() == [100, 100, 100, 200],
        IpAddr::V6(v6) => {
            let mapped = v6.to_ipv4_mapped();
            let metadata = v6.segments()[..2] == [0xfd00, 0x0ec2];
            v6.is_unicast_link_local()
                || metadata
                || mapped.is_some_and(|v4| is_forbidden_address(v4.into()))
        }
    }
}

/// Whether a name can be one of a bucket or repository: what S3 allows in path and host.
pub(super) fn is_valid_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| plain(byte) || byte == b'-' || byte == b'.';
    (3..=63).contains(&name.len())
        && name.bytes().all(inner)
        && name.bytes().next().is_some_and(plain)
        && name.bytes().last().is_some_and(plain)
        && !["..", ".-", "-."].iter().any(|pair| name.contains(pair))
        && name.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(provider: Provider, url: &str) -> NewBucket {
        NewBucket {
            name: "one".to_owned(),
            provider,
            region: "eu-west-1".to_owned(),
            url: url.to_owned(),
            soft_cap: 0.8,
            credit: None,
            quota: None,
            price_out: None,
        }
    }

    #[test]
    fn an_endpoint_and_a_bucket_are_read_from_the_url() {
        let location = bucket(Provider::S3, "http://127.0.0.1:9000/data/").location();
        let expected = Location {
            endpoint: Some("http://127.0.0.1:9000".to_owned()),
            bucket: "data".to_owned(),
        };
        assert_eq!(location, Ok(expected));
        let aws = bucket(Provider::Aws, "s3://data").location().unwrap();
        assert_eq!((aws.endpoint, &*aws.bucket), (None, "data"));
        let file = bucket(Provider::File, "file:///srv/a").location().unwrap();
        assert_eq!(file.bucket, "/srv/a");
    }

    #[test]
    fn an_account_of_azure_is_read_from_the_host_or_the_path() {
        for (url, account, bucket_name) in [
            ("https://acme.blob.core.windows.net/data", "acme", "data"),
            (
                "http://127.0.0.1:10000/devstoreaccount1/data",
                "devstoreaccount1",
                "data",
            ),
        ] {
            let location = bucket(Provider::Azure, url).location().unwrap();
            assert_eq!(
                (location.account(), &*location.bucket),
                (account, bucket_name)
            );
        }
        for url in ["https://h/a/b/c", "https://h", "https://h/a?b", "az://a"] {
            assert!(bucket(Provider::Azure, url).location().is_err(), "{url}");
        }
    }

    #[test]
    fn a_role_is_not_shown_to_other_hosts_than_its_provider_has() {
        let role = BucketCredentials::Role {
            role: super::super::credentials::Role::Process,
        };
        for (provider, url, is_allowed) in [
            (Provider::Aws, "s3://data", true),
            (
                Provider::Aws,
                "https://s3.eu-west-1.amazonaws.com/data",
                true,
            ),
            (Provider::Aws, "https://attacker/data", false),
            (Provider::Gcp, "gs://data", true),
            (Provider::Gcp, "https://storage.googleapis.com/data", true),
            (Provider::Gcp, "http://storage.googleapis.com/data", false),
            (
                Provider::Gcp,
                "https://notstorage.googleapis.com/data",
                false,
            ),
            (
                Provider::Azure,
                "https://a.blob.core.windows.net/data",
                true,
            ),
            (
                Provider::Azure,
                "https://attacker/.blob.core.windows.net/data",
                false,
            ),
            (Provider::Azure, "https://attacker/a/data", false),
        ] {
            let opened = bucket(provider, url).opened_by(Some(&role));
            assert_eq!(opened.is_ok(), is_allowed, "{url}");
        }
    }

    #[test]
    fn metadata_and_link_local_addresses_are_refused() {
        for host in [
            "169.254.169.254",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
            "metadata.google.internal",
            "100.100.100.200",
        ] {
            let url = format!("http://{host}/data");
            assert!(bucket(Provider::S3, &url).location().is_err(), "{host}");
        }
    }

    #[test]
    fn a_url_without_a_bucket_or_with_credentials_is_refused() {
        for url in [
            "http://h",
            "http://h/a/b",
            "http://u:p@h/a",
            "ftp://h/a",
            "x",
        ] {
            assert!(bucket(Provider::S3, url).location().is_err(), "{url}");
        }
    }

    #[test]
    fn names_are_those_of_s3() {
        for name in ["abc", "a-b.c", "app-data1"] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in ["ab", "Abc", "a_b", "-ab", "ab-", "a..b", "10.0.0.1", "a/b"] {
            assert!(!is_valid_name(name), "{name}");
        }
    }
}
