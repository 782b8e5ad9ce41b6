//! Which copy is read, which member is written to, and in which ways a repository can be reached.

use std::time::Duration;

use http::Method;
use tidegate::testkit::until;
use tokio::time::Instant;

use super::bucket_server::BucketFault;
use super::s3_client::S3Client;
use super::world::{REPOSITORY, StorageWorld, storage_command};
use crate::world::DEADLINE;

const TWO_COPIES: [&str; 2] = ["--write", "copies:2"];

#[tokio::test]
async fn nearest_writes_to_the_fastest_member_whatever_their_order() {
    let settings = "[steering]\ndwell = \"1s\"\nranking_ttl = \"1s\"";
    let world = StorageWorld::with(2, &[], &["--write", "nearest"], settings, 0).await;
    // What probes see.
    world.buckets[0].fail(Method::HEAD, BucketFault::Delay(Duration::from_millis(200)));
    until("the second is known to be faster", DEADLINE, async || {
        world.s3.put(REPOSITORY, "key", b"bytes").await;
        Ok((world.s3.get("bucket-1", "key").await.status() == 200).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_rule_sends_the_keys_below_its_prefix_to_the_members_that_it_names() {
    let rules = r#"[{"prefix":"logs/","write":"credit","members":["bucket-1"]},
                    {"prefix":"logs/both/","write":"copies:2"}]"#;
    let world = StorageWorld::start(&[], &["--rules", rules]).await;
    for (key, expected) in [
        ("other", [200, 404]),
        ("logs/one", [404, 200]),
        ("logs/both/one", [200, 200]),
    ] {
        world.s3.put(REPOSITORY, key, b"bytes").await;
        let of = async |member| world.s3.get(member, key).await.status().as_u16();
        assert_eq!(
            [of("bucket-0").await, of("bucket-1").await],
            expected,
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_member_whose_slow_answers_miss_the_objective_is_read_only_without_another_copy() {
    let policy = [&TWO_COPIES[..], &["--read", "order", "--read-slo", "300ms"]].concat();
    let world = StorageWorld::start(&[], &policy).await;
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    world.s3.put("bucket-0", "alone", b"bytes").await;
    // One answer in ten: the average is within the objective, the 95th percentile is not.
    let slow = BucketFault::Delay(Duration::from_millis(400));
    world.buckets[0].fail_every(10, Method::GET, slow);
    let reads = || world.buckets[0].count(&Method::GET);
    let (started, mut passed_over) = (Instant::now(), 0);
    while passed_over < 10 {
        let before = reads();
        world.s3.read(REPOSITORY, "key").await;
        passed_over = if reads() == before {
            passed_over + 1
        } else {
            0
        };
        assert!(started.elapsed() < DEADLINE);
    }
    assert_eq!(world.s3.read(REPOSITORY, "alone").await, b"bytes");
}

#[tokio::test]
async fn a_redirect_leads_to_the_bytes_and_never_to_a_member_that_is_dead() {
    let policy = [&TWO_COPIES[..], &["--read", "order", "--redirect"]].concat();
    let world = StorageWorld::start(&[], &policy).await;
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    let location = async || {
        let response = world.s3.get(REPOSITORY, "key").await;
        assert_eq!(response.status(), 307);
        response.headers()["location"].to_str().unwrap().to_owned()
    };
    let first = location().await;
    assert!(first.starts_with(&world.buckets[0].url()), "{first}");
    let followed = world.s3.client.get(first).send().await.unwrap();
    assert_eq!(followed.bytes().await.unwrap(), "bytes");
    redirected_answers_say_what_was_stored(&world.s3).await;
    // The member does not know which version a client has the beginning of.
    let resumed = world.s3.request(Method::GET, REPOSITORY, "key");
    let resumed = resumed.header("range", "bytes=1-");
    let resumed = resumed.header("if-range", "\"of-another\"").send().await;
    assert_eq!(resumed.status(), 200);
    assert_eq!(resumed.bytes().await.unwrap(), "bytes");
    world.buckets[0].fail_all(&BucketFault::Reset);
    until("it is known to be dead", DEADLINE, async || {
        let leads_to_second = location().await.starts_with(&world.buckets[1].url());
        Ok(leads_to_second.then_some(()))
    })
    .await
    .unwrap();
    world.buckets[1].fail_all(&BucketFault::Reset);
    until("none is left", DEADLINE, async || {
        let status = world.s3.get(REPOSITORY, "key").await.status();
        Ok((status == 503).then_some(()))
    })
    .await
    .unwrap();
}

async fn redirected_answers_say_what_was_stored(s3: &S3Client) {
    let disposition = "attachment; filename=\"a b\"";
    let put = s3.request(Method::PUT, REPOSITORY, "typed").body(b"bytes");
    let put = put.header("content-type", "text/plain");
    let put = put.header("content-disposition", disposition).send().await;
    assert_eq!(put.status(), 200);
    let get = s3.request(Method::GET, REPOSITORY, "typed");
    let get = get.query("response-cache-control", "no-store").send().await;
    assert_eq!(get.status(), 307);
    let url = get.headers()["location"].to_str().unwrap();
    let followed = s3.client.get(url).send().await.unwrap();
    assert_eq!(followed.status(), 200);
    for (name, expected) in [
        ("content-type", "text/plain"),
        ("content-disposition", disposition),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(followed.headers()[name], expected, "{name}");
    }
}

#[tokio::test]
async fn a_repository_is_the_host_below_the_domain_and_the_path_elsewhere() {
    let world = StorageWorld::with(1, &[], &[], "domain = \"s3.test\"", 0).await;
    let at_host = |method: Method, key: &str| {
        let host = format!("{REPOSITORY}.s3.test");
        world.s3.request(method, key, "").host(&host)
    };
    let put = at_host(Method::PUT, "by-host").body(b"bytes").send().await;
    assert_eq!(put.status(), 200);
    let got = at_host(Method::GET, "by-host").send().await;
    assert_eq!(got.text().await.unwrap(), "bytes");
    let capitals = world.s3.request(Method::GET, "by-host", "");
    let capitals = capitals.host("APP-DATA.S3.test:26100").send().await;
    assert_eq!(capitals.text().await.unwrap(), "bytes");
    for host in [
        "s3.test",
        "s3.test:26100",
        "localhost:26100",
        "s3-eu-west-1-aws.test",
        "s3-eu-west-1-aws.s3.test",
    ] {
        let by_path = world.s3.request(Method::GET, REPOSITORY, "by-host");
        let by_path = by_path.host(host).send().await;
        assert_eq!(by_path.text().await.unwrap(), "bytes", "{host}");
    }
}

#[tokio::test]
async fn a_bucket_over_tls_is_used_only_with_a_certificate_that_is_trusted() {
    let world = StorageWorld::with(1, &[], &[], "", 0).await;
    let tls = world.buckets[0].over_tls().await;
    let add = [
        "bucket",
        "add",
        "secure",
        "--provider",
        "s3",
        "--region",
        "here",
        "--url",
        &tls.url,
    ];
    world.storage(&add).await;
    let check = || storage_command(&world.cluster, &["bucket", "check", "secure", "--json"]);
    let refused = check().output().await.unwrap();
    assert!(!refused.status.success());
    let trusted = check().env("SSL_CERT_FILE", &tls.authority).output().await;
    let trusted = trusted.unwrap();
    let said = String::from_utf8_lossy(&trusted.stderr).into_owned();
    assert!(trusted.status.success(), "{said}");
}

#[tokio::test]
async fn a_directory_is_a_bucket_and_what_a_crash_has_left_in_it_is_swept() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("bucket");
    std::fs::create_dir(&directory).unwrap();
    let settings = format!(
        "file_root = \"{}\"\nsweep_after = \"1ms\"",
        root.path().display()
    );
    let world = StorageWorld::with(1, &[], &[], &settings, 0).await;
    let url = format!("file://{}", directory.display());
    let add = [
        "bucket",
        "add",
        "files",
        "--provider",
        "file",
        "--region",
        "here",
        "--url",
    ];
    // It warns: it does not know which directories the gateways take.
    let output = storage_command(&world.cluster, &[&add[..], &[&url]].concat());
    assert!(output.output().await.unwrap().status.success());
    let add = ["repository", "add", "on-files", "--member", "files"];
    world.storage(&add).await;
    let s3 = world.key_of("on-files", "write").await;
    let body: Vec<u8> = (0..20 << 20).map(|at| (at / 19) as u8).collect();
    for (key, body) in [("small", &b"bytes"[..]), ("large", &body)] {
        assert_eq!(s3.put("on-files", key, body).await.status(), 200);
        assert!(s3.read("on-files", key).await == body);
    }
    let range = s3.request(Method::GET, "on-files", "large");
    let range = range.header("range", "bytes=9-12").send().await;
    assert_eq!(range.bytes().await.unwrap(), &body[9..13]);
    // A gateway that dies in the middle leaves a file that has not got its name yet.
    let crashed = "insert into tidegate.storage_copy (id, bucket, bytes, state, due) \
         select 'crashed', id, 0, 'reserved', now() from tidegate.storage_bucket where name = 'files'";
    world.cluster.primary.execute(crashed).await.unwrap();
    std::fs::write(directory.join("tidegate/crashed#1"), b"part").unwrap();
    for key in ["small", "large"] {
        s3.delete("on-files", key).await;
    }
    until("the directory is empty", DEADLINE, async || {
        sweep(&world, &settings).await;
        let left = std::fs::read_dir(directory.join("tidegate"))
            .unwrap()
            .count();
        Ok((left == 0).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_version_whose_bytes_are_gone_is_not_torn_with_the_one_that_replaced_it() {
    let settings = "sweep_after = \"1ms\"\nsweep_interval = \"1h\"";
    let policy = ["--consistency", "eventual"];
    let world = StorageWorld::with(1, &[], &policy, settings, 1).await;
    let s3 = &world.s3;
    let put = async |body: &[u8], kind: &str| {
        let request = s3.request(Method::PUT, REPOSITORY, "key").body(body);
        let put = request.header("content-type", kind).send().await;
        put.headers()["etag"].to_str().unwrap().to_owned()
    };
    let old = put(b"0123456789", "text/old").await;
    world.cluster.wait_for_replicas().await.unwrap();
    world.cluster.replicas[0].pause_replay().await.unwrap();
    let new = put(b"abcdefghijklm", "text/new").await;
    world.storage(&["sweep"]).await;
    let get = |s3: &S3Client| s3.request(Method::GET, REPOSITORY, "key");
    let range = get(s3).header("range", "bytes=-3").send().await;
    assert_eq!(range.headers()["content-range"], "bytes 10-12/13");
    assert_eq!(range.headers()["content-type"], "text/new");
    assert_eq!(range.headers()["etag"], *new);
    assert_eq!(range.text().await.unwrap(), "klm");
    assert_eq!(get(s3).header("if-match", &old).send().await.status(), 412);
    world.cluster.replicas[0].resume_replay().await.unwrap();
}

async fn sweep(world: &StorageWorld, settings: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("[storage]\n{settings}\n")).unwrap();
    let command = storage_command(&world.cluster, &["sweep"]);
    let swept = command.env("TIDEGATE_CONFIG", file.path().display().to_string());
    assert!(swept.output().await.unwrap().status.success());
}
