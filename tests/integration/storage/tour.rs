//! `make demo STORAGE=1`: object storage over local servers, to try out; `TOUR=1` walks through by itself.

#![expect(clippy::print_stdout, reason = "a tour is read on a terminal")]

use std::time::Duration;

use http::Method;
use tidegate_model::Environment;

use super::bucket_server::BucketFault;
use super::s3_client::S3Client;
use super::world::{REPOSITORY, StorageWorld};

const LARGE: usize = 20 << 20;

#[tokio::test]
#[ignore = "make demo STORAGE=1"]
async fn object_storage_to_try_out() {
    let policy = ["--consistency", "session", "--read", "order"];
    let rules = r#"[{"prefix":"twice/","write":"copies:2"}]"#;
    let policy = [&policy[..], &["--rules", rules]].concat();
    let credit = ["--credit", "1GiB/month", "--soft-cap", "80%"];
    let world = StorageWorld::start(&credit, &policy).await;
    if Environment::of_process().get("TOUR").is_some() {
        walk(&world).await;
        return;
    }
    println!(
        "\nTwo buckets behind one endpoint; keys below twice/ have a copy in both. In another terminal:\n"
    );
    for line in lines(&world.s3) {
        println!("    {line}");
    }
    println!("\nCtrl-C ends it and leaves nothing behind.");
    tokio::signal::ctrl_c().await.unwrap();
}

/// What to paste.
fn lines(s3: &S3Client) -> [String; 5] {
    let aws = format!("aws --endpoint-url {} s3", s3.base);
    [
        format!(
            "export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={} AWS_REGION=any",
            s3.key_id, s3.secret
        ),
        format!("echo hi | {aws} cp - s3://{REPOSITORY}/twice/hello.txt"),
        format!("{aws} ls --recursive s3://{REPOSITORY}/"),
        format!("{aws} cp s3://{REPOSITORY}/twice/hello.txt -"),
        format!("{aws} ls --recursive s3://bucket-1/   # one member by its own name"),
    ]
}

async fn walk(world: &StorageWorld) {
    let s3 = &world.s3;
    step(
        1,
        "An object is stored at the first member, and read through the same endpoint",
    );
    assert_eq!(s3.put(REPOSITORY, "one", b"hi").await.status(), 200);
    assert_eq!(s3.read("bucket-0", "one").await, b"hi");
    holds("PUT 200; bucket-0 has it");

    step(
        2,
        "The first provider is out of credit: the same request lands at the next one",
    );
    let spent = "<Error><Code>QuotaExceeded</Code><Message>QUOTA_EXCEEDED</Message></Error>";
    world.buckets[0].fail(Method::PUT, BucketFault::Answer(403, spent));
    assert_eq!(s3.put(REPOSITORY, "two", b"hi").await.status(), 200);
    assert_eq!(s3.read("bucket-1", "two").await, b"hi");
    assert_eq!(world.bucket(0).await["writes"], false);
    holds("PUT 200; bucket-1 has it; bucket-0 takes no writes until the next month");
    assert_eq!(s3.read(REPOSITORY, "one").await, b"hi");
    holds("what bucket-0 has is still read");

    step(3, "It has credit again: an operator says so");
    world.buckets[0].heal();
    world.storage(&["bucket", "enable", "bucket-0"]).await;
    assert_eq!(world.bucket(0).await["writes"], true);
    holds("tidegate storage bucket enable bucket-0");

    step(
        4,
        "A provider dies in the middle of a body: the other copy continues it",
    );
    let body: Vec<u8> = (0..LARGE).map(|at| (at / 31) as u8).collect();
    // Every gateway knows within a second that the bucket takes writes again.
    tidegate::testkit::until("both take writes", Duration::from_secs(10), async || {
        let put = s3.put(REPOSITORY, "twice/large", &body).await;
        Ok((put.status() == 200).then_some(()))
    })
    .await
    .unwrap();
    world.buckets[0].fail(Method::GET, BucketFault::Truncate(LARGE / 4));
    assert!(s3.read(REPOSITORY, "twice/large").await == body);
    holds("GET 200; all 20 MiB are right, although bucket-0 broke off after 5");

    step(5, "A provider is gone: reads and writes go on");
    world.buckets[0].fail_all(&BucketFault::Reset);
    assert!(s3.read(REPOSITORY, "twice/large").await == body);
    assert_eq!(s3.put(REPOSITORY, "three", b"hi").await.status(), 200);
    assert_eq!(s3.read("bucket-1", "three").await, b"hi");
    holds("GET 200, PUT 200");
    println!("\nAll of it holds. docs/storage.md has the rest.");
}

fn step(number: usize, title: &str) {
    println!("\n{number}. {title}");
}

fn holds(what: &str) {
    println!("   holds: {what}");
}
