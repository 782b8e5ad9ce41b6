//! A GET of an object: its key, its row, and a request to the bucket. Only what the request's own task does, as
//! buckets are observed meanwhile.

use super::callgrind::{REQUEST, Script};
use super::{Counts, REQUESTS, ROUNDS_MIN};
use crate::storage::s3_client::S3Client;
use crate::storage::world::{REPOSITORY, StorageWorld};

const OBJECT: [u8; 1000] = [b'x'; 1000];

/// The monitor samples rarely, so that it hardly counts.
const SETTINGS: &str = "[replication]\nsample_interval = \"2s\"";

pub(super) async fn count(counts: &mut Counts) {
    // A second bucket would get hedges, which count too.
    let mut world = StorageWorld::with(1, &[], &[], "", 0).await;
    world.s3.put(REPOSITORY, "key", &OBJECT).await;
    let script = Script::only(REQUEST);
    let log = [("RUST_LOG", "info,tidegate::access=warn".to_owned())];
    let s3 = world.add_gateway_from(&script.path(), SETTINGS, &log).await;
    let mut callgrind = script.counting(&world.gateways[1]);
    read(&s3, 50).await;
    callgrind.begin();
    read(&s3, 20).await;
    let mut least = u64::MAX;
    for _ in 0..ROUNDS_MIN {
        callgrind.reset();
        read(&s3, REQUESTS).await;
        least = least.min(callgrind.read());
    }
    counts.insert("object".to_owned(), least / REQUESTS);
}

async fn read(s3: &S3Client, times: u64) {
    for _ in 0..times {
        assert_eq!(s3.read(REPOSITORY, "key").await, OBJECT);
    }
}
