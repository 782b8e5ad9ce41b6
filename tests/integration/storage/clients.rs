//! The clients of the guides, as they are written there.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::bucket_server::BucketFault;
use super::world::{REPOSITORY, StorageWorld};

const SCRIPT: &str = include_str!("clients.py");

#[tokio::test]
async fn boto3_stores_reads_lists_copies_and_deletes_while_a_bucket_dies() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/boto3-python");
    if !python.exists() {
        eprintln!("SKIPPED: boto3 is not installed, and it cannot be installed from PyPI");
        return;
    }
    let world = StorageWorld::start(&[], &["--write", "copies:2"]).await;
    let run = async |step: &str| {
        let mut command = Command::new(&python);
        command.args(["-c", SCRIPT, step]);
        command.env("FB_S3_ENDPOINT", &world.s3.base);
        command.env("FB_KEY_ID", &world.s3.key_id);
        command.env("FB_KEY_SECRET", &world.s3.secret);
        command.env("BUCKET", REPOSITORY).stdin(Stdio::null());
        let output = command.output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{step}: {told}");
    };
    run("write").await;
    world.buckets[0].fail_all(&BucketFault::Reset);
    run("read").await;
    world.buckets[0].heal();
    run("rest").await;
}
