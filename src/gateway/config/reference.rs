//! All settings, as their rooms declare them.

use super::endpoint_keys::ENDPOINT;
use super::policy_section::POLICY;
use super::topology::{PRIMARY_REGION, REPLICA};
use super::upstream_section::{UPSTREAM, UPSTREAM_CHECK, UPSTREAM_NODE};
use crate::auth::{JWT_AUDIENCE, JWT_ISSUER, JWT_KEY_SET, JWT_SECRET};
use crate::cache::CacheSettings;
use crate::http::{
    ADMIN, ADMIN_SECTION, ADMIN_TOKEN, CompressionSettings, LISTEN, ServerSettings, TLS_CERT,
    TLS_KEY, TLS_SECTION,
};
use crate::peers::{FLEET_CA, FLEET_CERTIFICATE, FLEET_KEY, FLEET_LISTEN, FLEET_SECTION, PEER};
use crate::policy_store::FLEET_STORE;
use crate::postgres::Server;
use crate::postgres::monitor::{HealthSettings, ReplicationSettings};
use crate::postgres::pool::{PoolSettings, SpillSettings};
use crate::regions::{GEOIP_DATABASE, ObserveSettings, TRAFFIC_POLICY};
use crate::storage::{STORAGE_API_LISTEN, STORAGE_LISTEN, STORAGE_MASTER_KEY, StorageSettings};
use crate::upstream::UpstreamLimits;
use tidegate_model::settings::{Section, Setting};
use tidegate_model::{RegionId, TokenKeys};
use tidegate_policy::ConsistencySettings;
use tidegate_steering::SteeringSettings;
use tidegate_telemetry::{LOG_FILTER, LogFormat};

/// The path of the file.
pub const CONFIG: Setting = Setting {
    variable: Some("TIDEGATE_CONFIG"),
    flag: Some("--config"),
    default: || "built-in".to_owned(),
    range: || "the path of a TOML file of at most 4 MiB".to_owned(),
    meaning: "The configuration file. Without one, the [built-in API](endpoints.md#the-built-in-api) is served.",
    ..Setting::UNNAMED
};

/// What the process itself needs, by variables or flags.
pub const PROCESS: [Setting; 25] = [
    RegionId::SETTING,
    Server::PRIMARY,
    Server::READ_REPLICA,
    CONFIG,
    TRAFFIC_POLICY,
    GEOIP_DATABASE,
    LISTEN,
    ADMIN,
    ADMIN_TOKEN,
    TLS_CERT,
    TLS_KEY,
    FLEET_LISTEN,
    FLEET_CERTIFICATE,
    FLEET_KEY,
    FLEET_CA,
    STORAGE_LISTEN,
    STORAGE_API_LISTEN,
    STORAGE_MASTER_KEY,
    TokenKeys::SETTING,
    JWT_SECRET,
    JWT_KEY_SET,
    JWT_AUDIENCE,
    JWT_ISSUER,
    LOG_FILTER,
    LogFormat::SETTING,
];

/// Some keys of one table of the file.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The header of the table, or the key that holds it.
    pub header: &'static str,
    /// Its subject.
    pub about: &'static str,
    /// Its keys.
    pub settings: &'static [Setting],
    /// Whether all of its keys have defaults, which apply if it is absent.
    pub is_section: bool,
}

/// A section: its keys all have defaults.
const fn section<S: Section>(header: &'static str, about: &'static str) -> Table {
    Table {
        header,
        about,
        settings: S::SETTINGS,
        is_section: true,
    }
}

/// A table that may be listed several times, or a part of one.
const fn row(header: &'static str, about: &'static str, settings: &'static [Setting]) -> Table {
    Table {
        header,
        about,
        settings,
        is_section: false,
    }
}

/// The tables of the file, in the order of the reference.
pub const TABLES: [Table; 24] = [
    row(
        "[topology]",
        "Where the databases are, beside those that the process is given.",
        &[PRIMARY_REGION],
    ),
    row(
        "[[topology.replica]]",
        "Further replicas, nearest first.",
        REPLICA,
    ),
    row(
        "[admin]",
        "The [admin listener](security.md#the-admin-listener).",
        ADMIN_SECTION,
    ),
    row(
        "[tls]",
        "[TLS for clients](security.md#tls-for-clients), on the public listener.",
        TLS_SECTION,
    ),
    row(
        "[fleet]",
        "The listener for the gateways of other regions; see [the fleet](fleet.md).",
        FLEET_SECTION,
    ),
    row("[fleet]", "The [policy store](rollouts.md).", FLEET_STORE),
    row(
        "[[fleet.peers]]",
        "The gateways of other regions; see [the fleet](fleet.md).",
        PEER,
    ),
    section::<ServerSettings>("[server]", "What one client may take from the process."),
    section::<PoolSettings>("[pool]", "Connections to one node."),
    section::<ReplicationSettings>("[replication]", "How closely the nodes are watched."),
    section::<HealthSettings>(
        "[health]",
        "How many samples in a row it takes to call a dependency down or up.",
    ),
    section::<ConsistencySettings>("[consistency]", "What the levels cost."),
    section::<CacheSettings>(
        "[cache]",
        "Answers kept in memory; see [Caching](caching.md).",
    ),
    section::<CompressionSettings>(
        "[compression]",
        "Which answers are compressed; see [Compression](api.md#is-an-answer-compressed).",
    ),
    section::<SteeringSettings>(
        "[steering]",
        "Which of several nodes that could serve is asked first, and how often again: of the databases and of \
         every upstream.",
    ),
    section::<SpillSettings>(
        "[spill]",
        "What the primary does for replicas that cannot serve.",
    ),
    section::<ObserveSettings>(
        "[observe]",
        "What is recorded of the [traffic policy](traffic-policy.md#receipts)'s decisions, and of requests.",
    ),
    section::<StorageSettings>(
        "[storage]",
        "Many buckets behind one S3 endpoint; see [object storage](storage.md).",
    ),
    row(
        "[[policy]]",
        "What a path promises; see [Policies](endpoints.md#policies).",
        POLICY,
    ),
    row(
        "[[endpoint]]",
        "What serves a path; see [SQL endpoints](endpoints.md#sql-endpoints) and \
         [Upstreams](endpoints.md#upstreams).",
        ENDPOINT,
    ),
    row(
        "[[upstream]]",
        "An application that endpoints hand requests to.",
        UPSTREAM,
    ),
    row("[[upstream]]", "Its limits.", UpstreamLimits::SETTINGS),
    row(
        "upstream.nodes",
        "Each of an upstream's nodes.",
        UPSTREAM_NODE,
    ),
    row(
        "upstream.check",
        "How an upstream's nodes are checked.",
        UPSTREAM_CHECK,
    ),
];
