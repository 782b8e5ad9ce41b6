//! What clients poll to choose among gateways and buckets, in the shapes of the guides.

use http::Method;
use serde_json::{Value, json};
use tidegate::testkit::until;

use super::api_client::ApiClient;
use super::bucket_server::BucketFault;
use super::world::{REPOSITORY, StorageWorld};
use crate::world::DEADLINE;

/// Rows of a second instead of a minute.
pub(super) const OFTEN: &str =
    "statistics_interval = \"1s\"\nsweep_interval = \"200ms\"\nsweep_after = \"1ms\"";

/// The sum of a column of some rows.
fn sum(rows: &Value, column: &str) -> i64 {
    let rows = rows["data"].as_array().unwrap().iter();
    rows.map(|row| row[column].as_i64().unwrap()).sum()
}

/// Waits until an answer satisfies a condition; returns it.
pub(super) async fn turns(api: &ApiClient, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let answer = async || {
        let answer = api.get(path).await;
        Ok(holds(&answer).then_some(answer))
    };
    until(path, DEADLINE, answer).await.unwrap()
}

#[tokio::test]
async fn what_requests_did_is_counted_by_minute_and_by_day_for_each_repository_and_bucket() {
    let policy = ["--write", "copies:2"];
    let bucket = [
        "--credit",
        "1GiB/month",
        "--soft-cap",
        "50%",
        "--quota",
        "2GiB",
        "--price-out",
        "0.09",
    ];
    let world = StorageWorld::with(2, &bucket, &policy, OFTEN, 0).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let body = vec![7; 100_000];
    world.s3.put(REPOSITORY, "key", &body).await;
    assert_eq!(world.s3.read("bucket-1", "key").await, body);
    let minute = turns(&api, "/stats/minute?bucketId=bucket-1", |it| {
        sum(it, "dwl_bytes") > 0
    })
    .await;
    assert_eq!(sum(&minute, "upl_bytes"), 100_000);
    assert_eq!(sum(&minute, "dwl_bytes"), 100_000);
    assert_eq!(sum(&minute, "size_change"), 100_000);
    assert_eq!(sum(&minute, "errors"), 0);
    let row = &minute["data"][0];
    assert_eq!(row["bucketId"], world.bucket(1).await["id"]);
    assert!(row["host"].as_str().unwrap().starts_with("eu-west-1-"));
    for field in [
        "timestamp",
        "repoId",
        "latency_ms",
        "latency_p99_ms",
        "requests",
    ] {
        assert!(row.get(field).is_some(), "{field}: {row}");
    }
    let timed = minute["data"].as_array().unwrap().iter();
    assert!(
        timed
            .clone()
            .any(|row| row["latency_ms"].as_f64() > Some(0.0))
    );

    // What is swept leaves its bucket.
    world.s3.delete(REPOSITORY, "key").await;
    let daily = turns(&api, "/stats/daily", |it| sum(it, "size_change") == 0).await;
    assert_eq!(sum(&daily, "upl_bytes"), 200_000);
    assert_eq!(sum(&daily, "dwl_bytes"), 100_000);
    let host = &daily["data"][0]["host"];
    assert_eq!(host, "eu-west-1");
    let none = api.get("/stats/daily?end=2020-01-01T00:00:00Z").await;
    assert_eq!(none["data"], json!([]));
    let none = api.get("/stats/minute?start=2199-01-01T00:00:00Z").await;
    assert_eq!(none["data"], json!([]));
    let by_name = api.get(&format!("/stats/daily?repoId={REPOSITORY}")).await;
    assert_eq!(sum(&by_name, "upl_bytes"), 200_000);
    totals_are_of_what_the_rows_are_restricted_to(&world, &api).await;
}

async fn totals_are_of_what_the_rows_are_restricted_to(world: &StorageWorld, api: &ApiClient) {
    world
        .storage(&["repository", "add", "other-data", "--member", "bucket-1"])
        .await;
    let placed = format!("/repo/stats?repoId={REPOSITORY}&bucketId=bucket-1");
    let placed = turns(api, &placed, |it| it["total"] == 1).await;
    let repository = &placed["data"][0];
    assert_eq!(repository["totalUploadBytes"], "100000", "{repository}");
    assert_eq!(repository["buckets"].as_object().unwrap().len(), 1);
    let none = api
        .get("/bucket/stats?repoId=other-data&bucketId=bucket-0")
        .await;
    assert_eq!(none["data"], json!([]));
    let other = turns(api, "/bucket/stats?repoId=other-data", |it| {
        it["total"] == 1
    })
    .await;
    let bucket = &other["data"][0];
    assert_eq!(
        (&bucket["bucketName"], &bucket["totalUploadBytes"]),
        (&json!("bucket-1"), &json!("0"))
    );
    assert_eq!(bucket["storedBytes"], "0");

    let buckets = api.get("/bucket/stats?bucketId=bucket-1").await;
    let bucket = &buckets["data"][0];
    assert_eq!(bucket["totalUploadBytes"], "100000");
    assert_eq!(bucket["totalDownloadBytes"], "100000");
    assert!((bucket["egressCost"].as_f64().unwrap() - 0.000_009).abs() < 1e-9);
}

#[tokio::test]
async fn a_repository_shows_what_its_buckets_may_still_take() {
    let bucket = [
        "--credit",
        "1GiB/month",
        "--soft-cap",
        "50%",
        "--quota",
        "2GiB",
    ];
    let world = StorageWorld::with(2, &bucket, &[], OFTEN, 0).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    world.s3.put(REPOSITORY, "key", &vec![7; 1_000]).await;
    let path = format!("/repo/stats?repoId={REPOSITORY}");
    let stats = turns(&api, &path, |it| {
        it["data"][0]["totalUploadBytes"] == "1000"
    })
    .await;
    let repository = &stats["data"][0];
    assert_eq!(
        (&stats["success"], &stats["total"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(repository["repoName"], REPOSITORY);
    assert_eq!(repository["totalDownloadBytes"], "0");
    assert_eq!(repository["storedBytes"], "1000");
    assert_eq!(repository["reservedBytes"], "0");
    let bucket = &repository["buckets"]["bucket-0"];
    assert_eq!(bucket["used_bytes"], 1_000);
    assert_eq!(bucket["soft_limit_bytes"], 1_u64 << 29);
    assert_eq!(bucket["quota_bytes"], 2_u64 << 30);
    assert_eq!(bucket["status"], "ONLINE");
    api.change(
        Method::PATCH,
        "/bucket/bucket-0",
        &json!({"quota": null, "credit": null}),
    )
    .await;
    let stats = api.get(&path).await;
    let bucket = &stats["data"][0]["buckets"]["bucket-0"];
    assert_eq!(
        (&bucket["soft_limit_bytes"], &bucket["quota_bytes"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn a_bucket_is_off_line_after_three_probes_and_one_that_fails_often_is_disconnected() {
    let world = StorageWorld::with(2, &[], &[], OFTEN, 0).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    world.buckets[0].fail_all(&BucketFault::Reset);
    let newest = |answer: &Value, bucket: &str| {
        let rows = answer["data"].as_array().unwrap();
        let found = rows.iter().rev().find(|row| row["bucketId"] == *bucket);
        found.map_or(Value::Null, |row| row["nodeStatus"].clone())
    };
    let [first, second] = [world.bucket(0).await, world.bucket(1).await];
    let [first, second] = [&first, &second].map(|it| it["id"].as_str().unwrap());
    let path = format!("/stats/nodes/minute?bucketId={first},bucket-1");
    let rows = turns(&api, &path, |it| newest(it, first) == "OFFLINE").await;
    assert_eq!(newest(&rows, second), "ONLINE");
    let failed = rows["data"].as_array().unwrap().iter();
    let failed =
        failed.filter(|row| row["bucketId"] == *first && row["requests"].as_u64() > Some(0));
    for row in failed {
        assert_eq!(row["availability"], 0.0, "{row}");
    }
    // Those of a repository are its members'.
    world
        .storage(&["repository", "add", "other", "--member", "bucket-1"])
        .await;
    let of_other = |it: &Value| {
        let rows = it["data"].as_array().unwrap();
        !rows.is_empty() && rows.iter().all(|row| row["bucketId"] == *second)
    };
    turns(&api, "/stats/nodes/minute?repoId=other", of_other).await;
    let none = api.get("/stats/nodes/minute?repoId=other&bucketId=bucket-0");
    assert_eq!(none.await["data"], json!([]));
    // It answers again, but one attempt in a few has failed.
    world.buckets[0].heal();
    turns(&api, &path, |it| newest(it, first) == "DISCONNECTED").await;
}

#[tokio::test]
async fn statistics_that_are_written_twice_count_once_and_old_ones_are_deleted_in_batches() {
    let world = StorageWorld::with(1, &[], &[], "", 0).await;
    let rows = r#"[{"repository": "r", "bucket": "b", "uploaded": 5, "downloaded": 0, "size_change": 5, "requests": 1,
        "errors": 0, "timed": 1, "latency_ms_sum": 2.5, "latency_p99_ms": 2.5}]"#;
    // Yesterday: a fixed day would be forgotten one day.
    let at = |minute: u32| {
        format!(
            "date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - interval '{minute} min'"
        )
    };
    let record = [at(2), at(2), at(1)]
        .map(|at| format!("tidegate.storage_record_use({at}, 'g', 'eu', '{rows}')"));
    let record = format!("select {}", record.join(", "));
    let primary = world.cluster.primary.client().await.unwrap();
    primary.batch_execute(&record).await.unwrap();
    let day = "select uploaded::text || ' ' || requests || ' ' || latency_p99_ms from tidegate.storage_use_day";
    assert_eq!(world.value(day).await, "10 2 2.5");

    let old = "insert into tidegate.storage_bucket_minute \
         select now() - interval '8 days' - n * interval '1 s', 'g', 'b', 'ONLINE', 1, 1, 1, 0 \
         from generate_series(1, 250) n";
    primary.batch_execute(old).await.unwrap();
    let forget = "select tidegate.storage_forget_statistics(100)::text";
    let mut forgotten = Vec::new();
    for _ in 0..4 {
        forgotten.push(world.value(forget).await);
    }
    assert_eq!(forgotten, ["100", "100", "50", "0"]);
    assert_eq!(world.value(day).await, "10 2 2.5");
}

#[tokio::test]
async fn parameters_that_cannot_be_used_are_named() {
    let world = StorageWorld::with(1, &[], &[], "", 0).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    for (query, named) in [
        ("start=yesterday", "start"),
        ("end=1';--", "end"),
        ("bucketId=a%27b", "bucketId"),
        ("repoId=a%20b", "repoId"),
        ("bucketId=", "bucketId"),
        ("start=9999-12-31T23:59:59Z", "9999-12-30"),
        ("start=0000-01-01T00:00:00Z", "0001-01-01"),
        ("bucket=b", "bucket"),
        ("limit=1000000", "limit"),
    ] {
        for path in [
            "/stats/minute",
            "/stats/daily",
            "/stats/nodes/minute",
            "/repo/stats",
            "/bucket/stats",
        ] {
            let (status, answer) = api
                .send(Method::GET, &format!("{path}?{query}"), None)
                .await;
            assert_eq!(status, 400, "{path}?{query}");
            assert!(
                answer["detail"].as_str().unwrap().contains(named),
                "{answer}"
            );
        }
    }
    let keys = format!("/repo/{REPOSITORY}/apikey");
    for path in ["/node", "/bucket", "/bucket/bucket-0", "/repo", &keys] {
        let (status, _) = api.send(Method::GET, &format!("{path}?x=1"), None).await;
        assert_eq!(status, 400, "{path}");
        let (status, _) = api.send(Method::GET, &format!("{path}?"), None).await;
        assert_eq!(status, 200, "{path}");
    }
}
