//! A vendor's bucket: where it is, what may be written to it, and the credentials for it.

use std::net::IpAddr;

use super::StorageError;
use super::credentials::BucketCredentials;
use super::provider::Provider;

/// A bucket that is to be added.
#[derive(Debug, Clone)]
pub struct NewBucket {
    /// Its name here.
    pub name: String,
    /// Its provider.
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
    /// Whether its endpoint must have a public address.
    pub public_only: bool,
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
    /// Why it cannot be used, if its credentials cannot be opened, or are none that are sent.
    pub broken: Option<String>,
    /// Whether it takes writes.
    pub writes: bool,
    /// Whether its copies are moved to other buckets; it takes no writes then.
    pub draining: bool,
    /// Bytes stored, reserved and not yet swept.
    pub held: u64,
    /// Bytes written in this month.
    pub written: u64,
}

/// What is to be changed of a bucket; what is absent stays, also if somebody else changes it meanwhile.
#[derive(Debug, Clone, Default)]
pub struct BucketChange {
    /// See [`NewBucket`].
    pub soft_cap: Option<f64>,
    /// The same; `Some(None)` takes it away.
    pub credit: Option<Option<u64>>,
    /// The same.
    pub quota: Option<Option<u64>>,
    /// The same.
    pub price_out: Option<Option<f64>>,
    /// What opens it from now on.
    pub credentials: Option<BucketCredentials>,
    /// Whether it takes writes again that has named a quota, or that was drained.
    pub enable: bool,
}

impl BucketRow {
    /// Whether it can be used.
    ///
    /// # Errors
    /// Says why not.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        match &self.broken {
            Some(why) => Err(StorageError::Invalid(format!(
                "the bucket `{}` cannot be used: {why}",
                self.declared.name
            ))),
            None => Ok(()),
        }
    }

    /// Returns it with other credentials, which open it.
    #[must_use]
    pub fn with(self, credentials: BucketCredentials) -> Self {
        Self {
            credentials: Some(credentials),
            broken: None,
            ..self
        }
    }

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

#[cfg(test)]
impl BucketRow {
    /// A bucket for tests, which takes writes and has had none.
    pub(super) fn sample(provider: Provider, url: &str) -> Self {
        Self {
            id: "id".to_owned(),
            declared: NewBucket {
                name: "one".to_owned(),
                provider,
                region: "eu-west-1".to_owned(),
                url: url.to_owned(),
                soft_cap: 1.0,
                credit: None,
                quota: None,
                price_out: None,
                public_only: false,
            },
            credentials: None,
            broken: None,
            writes: true,
            draining: false,
            held: 0,
            written: 0,
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
