//! Where a bucket is, as its URL, its provider and its credentials say.

use reqwest::Url;

use super::credentials::BucketCredentials;
use super::endpoint::{Reach, check_host};
use super::provider::Provider;
use super::{BucketRow, NewBucket};

/// The longest URL of a bucket.
const URL_BYTES_MAX: usize = 2_048;

/// The parts of a bucket's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// Scheme, host and port; absent where the provider's own is meant.
    pub(super) endpoint: Option<String>,
    /// The vendor's name of the bucket, or the directory.
    pub(super) bucket: String,
    /// Which addresses it may have.
    pub(super) reach: Reach,
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
        if !is_region(&self.region) {
            return Err(
                "region: expected letters, digits and hyphens, such as eu-west-1".to_owned(),
            );
        }
        match (credentials, &location.endpoint) {
            (None, _) if self.provider == Provider::File => {}
            (None, _) => return Err("credentials: the bucket has none".to_owned()),
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

    /// Whether the URL of a new bucket has nothing that would be passed over, or read as something else. Of rows
    /// that are there already, it is.
    ///
    /// # Errors
    /// Says what is expected.
    pub(super) fn check_url(&self) -> Result<(), String> {
        let location = self.location()?;
        let url = Url::parse(&self.url).map_err(|error| format!("url: {error}"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("url: it must not have a query or a fragment".to_owned());
        }
        let is_dots = |segment: &str| {
            let segment = segment.to_ascii_lowercase().replace("%2e", ".");
            segment == "." || segment == ".."
        };
        if self.url.contains('\\') || self.url.split('/').any(is_dots) {
            return Err("url: its path must not have `\\`, `.` or `..`".to_owned());
        }
        let endpoint = location.endpoint.as_deref().unwrap_or_default();
        if self.provider != Provider::File
            && (location.bucket.contains('%') || endpoint.contains('%'))
        {
            return Err("url: expected the name of a bucket, which has no `%`".to_owned());
        }
        Ok(())
    }

    fn reach(&self) -> Reach {
        match self.public_only {
            true => Reach::Public,
            false => Reach::Any,
        }
    }

    /// Takes the URL apart.
    ///
    /// # Errors
    /// Says what is expected of the URL.
    pub(super) fn location(&self) -> Result<Location, String> {
        let is_plain = |byte: u8| byte.is_ascii_graphic();
        if self.url.len() > URL_BYTES_MAX || !self.url.bytes().all(is_plain) {
            return Err("url: expected a URL without spaces, as `https://host/bucket`".to_owned());
        }
        let url = Url::parse(&self.url).map_err(|error| format!("url: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("url: it must not contain credentials".to_owned());
        }
        let host = || url.host_str().unwrap_or_default().to_owned();
        match (self.provider, url.scheme()) {
            (Provider::File, "file") => Ok(Location {
                endpoint: None,
                bucket: url.path().to_owned(),
                reach: self.reach(),
            }),
            (Provider::File, _) => Err("url: expected file:///directory".to_owned()),
            (Provider::Aws, "s3") => Ok(Location {
                endpoint: None,
                bucket: host(),
                reach: self.reach(),
            }),
            (Provider::Gcp, "gs") => Ok(Location {
                endpoint: Some("https://storage.googleapis.com".to_owned()),
                bucket: host(),
                reach: self.reach(),
            }),
            (_, "http" | "https") => of_endpoint(&url, self.provider, self.reach()),
            (Provider::Azure, _) => {
                Err("url: expected https://account.blob.core.windows.net/container".to_owned())
            }
            _ => Err("url: expected https://host/bucket".to_owned()),
        }
    }
}

fn of_endpoint(url: &Url, provider: Provider, reach: Reach) -> Result<Location, String> {
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
    check_host(host, reach).map_err(|why| format!("url: {host} {why}"))?;
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    Ok(Location {
        endpoint: Some(format!("{}://{host}{port}{account}", url.scheme())),
        bucket: bucket.to_owned(),
        reach,
    })
}

/// Whether a text can be the region of a provider, which becomes a part of a host's name.
fn is_region(region: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=64).contains(&region.len()) && region.bytes().all(is_plain)
}

impl BucketRow {
    /// Returns it as one that cannot be used, if what it declares or its credentials cannot be: an older version may
    /// have stored them.
    pub(super) fn judged(self) -> Self {
        let why = || {
            let location = self.declared.opened_by(self.credentials.as_ref());
            location.err()
        };
        let broken = self.broken.clone().or_else(why);
        Self { broken, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(provider: Provider, url: &str) -> NewBucket {
        BucketRow::sample(provider, url).declared
    }

    #[test]
    fn an_endpoint_and_a_bucket_are_read_from_the_url() {
        let location = bucket(Provider::S3, "http://127.0.0.1:9000/data/").location();
        let expected = Location {
            endpoint: Some("http://127.0.0.1:9000".to_owned()),
            bucket: "data".to_owned(),
            reach: Reach::Any,
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
    fn a_region_that_would_lead_to_another_host_is_refused() {
        for region in ["evil.example/#", "a@b", "a.b", "", "a b", "a%2f"] {
            let bucket = NewBucket {
                region: region.to_owned(),
                ..bucket(Provider::Aws, "s3://data")
            };
            let refused = bucket.opened_by(None).unwrap_err();
            assert!(refused.starts_with("region:"), "{refused}");
        }
    }

    #[test]
    fn a_new_bucket_has_no_url_of_which_parts_are_passed_over() {
        for url in [
            "https://h/x#f",
            "https://h/x/../../y",
            "https://h/x%2f..",
            "https://h/%2E%2e/x",
            "https://h/./x",
            "https://h\\x",
            "https://h/x?a",
        ] {
            let refused = bucket(Provider::S3, url).check_url().unwrap_err();
            assert!(refused.starts_with("url: "), "{refused}");
        }
        for url in ["file:///srv/../etc", "file:///srv/a#b"] {
            assert!(bucket(Provider::File, url).check_url().is_err(), "{url}");
        }
        assert!(bucket(Provider::Aws, "s3://a%2fb").check_url().is_err());
        for (provider, url) in [
            (Provider::S3, "https://h:9000/data_1.x-y/"),
            (Provider::Aws, "s3://data"),
            (Provider::Azure, "https://a.blob.core.windows.net/$web"),
            (Provider::Azure, "http://127.0.0.1:1/account/data"),
            (Provider::File, "file:///srv/.data/a..b"),
        ] {
            assert_eq!(bucket(provider, url).check_url(), Ok(()), "{url}");
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
    fn a_row_with_credentials_that_are_never_sent_says_why_it_is_not_used() {
        let row = |secret: &str, broken: Option<&str>| BucketRow {
            credentials: Some(BucketCredentials::Key {
                access_key_id: "id".to_owned(),
                secret_access_key: secret.to_owned(),
            }),
            broken: broken.map(str::to_owned),
            ..BucketRow::sample(Provider::S3, "https://h/data")
        };
        let broken = |secret, broken| row(secret, broken).judged().broken;
        assert_eq!(broken("secret", None), None);
        let why = broken("secret\n", None).unwrap();
        assert!(why.starts_with("secretAccessKey: "), "{why}");
        assert_eq!(broken("secret\n", Some("why")).as_deref(), Some("why"));
    }
}
