//! `[storage]` and its listener: what an operator may set.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserializer;
use tidegate_model::settings;
use tidegate_model::settings::Setting;
use tidegate_model::values::{
    ByteSize, ByteSizeOrZero, DURATION, FilePath, Form, Given, Time, value,
};

use super::MasterKeys;
use super::endpoint::Reach;

/// The listener for S3.
pub const STORAGE_LISTEN: Setting = Setting {
    variable: Some("STORAGE_ADDR"),
    default: || "off".to_owned(),
    range: || "an IP address and a port, or `off`".to_owned(),
    meaning: "The listener for S3 clients; see [object storage](storage.md).",
    ..Setting::UNNAMED
};

/// The listener for management and statistics.
pub const STORAGE_API_LISTEN: Setting = Setting {
    variable: Some("STORAGE_API_ADDR"),
    default: || "off".to_owned(),
    range: || "an IP address and a port, or `off`".to_owned(),
    meaning: "The listener for [management and statistics](storage.md#the-json-api) of object storage, with \
              bearer tokens of the scope `storage:read` or `storage:admin`.",
    ..Setting::UNNAMED
};

/// What seals credentials in the database.
pub const STORAGE_MASTER_KEY: Setting = Setting {
    variable: Some("STORAGE_MASTER_KEY"),
    default: || "none".to_owned(),
    range: || {
        "32 bytes in base64; several are separated by commas, and the first encrypts".to_owned()
    },
    shown: Setting::secret,
    meaning: "Seals the credentials of buckets and the secrets of keys in the database.",
    ..Setting::UNNAMED
};

/// A third of it is longer than it takes to renew it.
const LEASE: Time = Time {
    least: Duration::from_secs(5),
};

/// Rows are at least a second apart.
const STATISTICS_INTERVAL: Time = Time {
    least: Duration::from_secs(1),
};

settings! {
    /// `[storage]`: object storage behind the S3 listener.
    #[derive(Debug, Clone)]
    pub struct StorageSettings {
        /// The domain whose subdomains are repositories (`NAME.domain`); without it, only the path names
        /// them.
        domain: String = String::new(), DomainName;
        /// The only directory in which `file` buckets may lie; without it there are none.
        file_root: String = String::new(), FilePath;
        /// Where bodies are kept, encrypted, that exceed `spool_memory_max`; without it, the system's
        /// directory for temporary files.
        spool_dir: String = String::new(), FilePath;
        /// Memory for bodies until a bucket has them, of all requests together: one half for what is kept,
        /// one for the parts that are being sent.
        spool_memory_max: usize = 64 << 20, ByteSize,
            low "bodies go through files, and uploads wait for one another.",
            high "memory grows with the number of uploads.";
        /// The largest part of one body that is kept in order to send it to another bucket.
        spool_bytes_max: usize = 1 << 30, ByteSizeOrZero,
            low "a large upload gets 503 when its bucket fails.",
            high "a few uploads fill the disk.";
        /// The same for all requests together.
        spool_total_max: usize = 4 << 30, ByteSizeOrZero,
            low "uploads get 503 when a bucket fails.",
            high "the disk fills up.";
        /// How long bytes that were reserved in a bucket stay so without news of their upload.
        lease: Duration = Duration::from_secs(300), LEASE,
            low "a slow upload loses its reservation.",
            high "what a crash left counts against the quota for so long.";
        /// How often what is no longer needed is deleted.
        sweep_interval: Duration = Duration::from_secs(60), DURATION,
            low "the database is asked for nothing.",
            high "what was deleted is paid for longer.";
        /// How long the bytes of a version that was replaced or deleted are kept: more than any replica
        /// may lag.
        sweep_after: Duration = Duration::from_secs(3600), DURATION,
            low "reads from a replica that lags find no bytes, and ask the primary.",
            high "replaced versions are paid for longer.";
        /// Where buckets may lie that are declared through the API: at `public` addresses, or at `any` but
        /// link-local ones.
        api_endpoints: Reach = Reach::Public, ReachName;
        /// The name by which clients reach the S3 listener of this gateway, as `/node` shows it; without it, the
        /// listener's address.
        endpoint: String = String::new(), DomainName;
        /// How often statistics are written; a row covers so much time.
        statistics_interval: Duration = Duration::from_secs(60), STATISTICS_INTERVAL,
            low "more rows are written and kept.",
            high "clients choose by what was long ago.";
    }
}

/// What object storage needs.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// Where S3 clients connect.
    pub listen: SocketAddr,
    /// Where programs of operators connect.
    pub api: Option<SocketAddr>,
    /// What opens credentials.
    pub keys: MasterKeys,
    /// `[storage]`.
    pub settings: StorageSettings,
}

/// A DNS name, or empty for none.
struct DomainName;

impl Form<String> for DomainName {
    fn range(&self) -> String {
        "a DNS name, or empty for none".to_owned()
    }

    fn written(&self, value: &String) -> String {
        format!("\"{value}\"")
    }

    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<String, D::Error> {
        let expected = "a DNS name, such as \"s3.example.com\"";
        let is_label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !label.is_empty() && label.len() < 64 && label.bytes().all(plain)
        };
        value(from, expected, |given| match given {
            Given::Text(text) if text.is_empty() || text.split('.').all(is_label) => {
                Ok(text.to_ascii_lowercase())
            }
            Given::Text(_) | Given::Whole(_) | Given::Decimal(_) => Err(expected.to_owned()),
        })
    }
}

/// The name of a reach.
struct ReachName;

impl Form<Reach> for ReachName {
    fn range(&self) -> String {
        "`public` or `any`".to_owned()
    }

    fn written(&self, value: &Reach) -> String {
        match value {
            Reach::Public => "\"public\"".to_owned(),
            Reach::Any => "\"any\"".to_owned(),
        }
    }

    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<Reach, D::Error> {
        let expected = "\"public\" or \"any\"";
        value(from, expected, |given| match given {
            Given::Text("public") => Ok(Reach::Public),
            Given::Text("any") => Ok(Reach::Any),
            Given::Text(_) | Given::Whole(_) | Given::Decimal(_) => Err(expected.to_owned()),
        })
    }
}
