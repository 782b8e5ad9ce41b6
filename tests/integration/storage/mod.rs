//! Object storage through the real binary: real S3 servers as buckets, and requests signed as clients do.

mod bucket_server;
mod s3_client;
mod world;

mod access;
mod ceph;
mod clients;
mod crash;
mod fallback;
mod objects;
mod quota;
mod uploads;
