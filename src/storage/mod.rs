//! Object storage: many vendor buckets behind one S3 endpoint.
//!
//! Clients see repositories; a repository's members are buckets of any provider. PostgreSQL keeps the
//! index (which version of a key is the newest, and which buckets have a copy of its bytes), so levels
//! and tokens hold for objects as they do for rows. What decides is pure: `placement` (which member
//! gets a write), `read_plan` (which copy is read). Deliberately absent: versions that clients can
//! name, access control lists, and any protocol other than S3.

mod settings;
mod error;
mod seal;
mod size;
mod hex;
mod by_name;
mod provider;
mod credentials;
mod endpoint;
mod bucket;
mod location;
mod mirror;
mod policy;
mod key_pair;
mod fault;
mod object_name;
mod attempt;
mod unnamable;
mod bucket_span;
mod connector;
mod upload;
mod backend;
mod measure;
mod placement;
mod read_plan;
mod owed;
mod prepared;
mod database;
mod rows;
mod statistics;
mod live;
mod inventory;
mod registry;
mod shown;
mod version;
mod migrations;
mod index;
mod listing;
mod spool;
mod distrust;
mod store;
mod lease;
mod sending;
mod write;
mod source;
mod read;
mod multipart;
mod upload_listing;
mod copy;
mod rounds;
mod sweep;
mod transfer;
mod repair;
mod task;
mod copier;
mod turns;
mod setbacks;
mod mover;
mod moving;
mod drain;
mod restores;
mod import;
mod probe;
mod seen;
mod gauges;
mod this_gateway;
mod record;
mod s3;
mod api;

pub use api::storage_api;
pub use backend::BucketBackend;
pub use bucket::{BucketChange, BucketRow, NewBucket};
pub use by_name::ByName;
pub use credentials::{BucketCredentials, CREDENTIALS_BYTES_MAX, Role};
pub use drain::{Blocked, NotMoved, Remaining, begin_drain, forget_copies, not_moved, remaining};
pub use error::StorageError;
pub use import::{Import, Imported, import};
pub use inventory::Inventory;
pub use key_pair::{KeyMode, KeyPair, NewKey};
pub use measure::{Measured, Percentiles, measure};
pub use mirror::Mirror;
pub use moving::move_forever;
pub use policy::{DefaultLevel, ReadPolicy, RepositoryPolicy, Rule, WritePolicy, read_slo_ms};
pub use probe::probe_forever;
pub use provider::Provider;
pub use record::record_forever;
pub use registry::{KeyRegistry, ListedKey, Registry, RepositoryRow, Rewrapped, rewrap};
pub use repair::repair_forever;
pub use restores::{FailedRestore, failed_restores};
pub use s3::S3Front;
pub use seal::MasterKeys;
pub use seen::BucketSeen;
pub use settings::{
    STORAGE_API_LISTEN, STORAGE_LISTEN, STORAGE_MASTER_KEY, StorageConfig, StorageSettings,
};
pub use shown::{bucket_as_json, repository_as_json};
pub use size::ByteCount;
pub use store::Store;
pub use sweep::{Swept, sweep_forever, sweep_once};
pub use this_gateway::ThisGateway;
