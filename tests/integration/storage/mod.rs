//! Object storage through the real binary: real S3 servers as buckets, and requests signed as clients do.

pub(crate) mod bucket_server;
pub(crate) mod s3_client;
pub(crate) mod vendor;
pub(crate) mod world;

mod access;
mod ceph;
mod clients;
pub(crate) mod crash;
mod fallback;
mod input;
mod kinds;
mod leases;
mod objects;
mod quota;
mod reads;
mod repair;
mod roles;
mod sweep;
mod tour;
mod uploads;
