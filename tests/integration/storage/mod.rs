//! Object storage through the real binary: real S3 servers as buckets, and requests signed as clients do.

pub(crate) mod bucket_server;
pub(crate) mod s3_client;
mod s3_chunks;
pub(crate) mod vendor;
pub(crate) mod world;

mod access;
mod api;
pub(crate) mod api_client;
mod api_input;
mod api_rows;
mod ceph;
mod clients;
pub(crate) mod crash;
mod drain;
mod fallback;
mod import;
mod import_keys;
mod input;
mod kinds;
mod leases;
mod measure;
mod mirror;
mod mirror_turns;
mod nodes;
mod objects;
mod polling;
mod quota;
mod reads;
mod repair;
mod roles;
mod rotation;
mod statistics;
mod statistics_crash;
mod sweep;
mod tour;
mod uploads;
