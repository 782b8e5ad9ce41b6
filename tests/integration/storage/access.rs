//! Signatures, keys and digests: what is refused, and in S3's words.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::Value;
use tokio::process::Command;

use super::s3_client::{S3Client, code, hex};
use super::world::{REPOSITORY, StorageWorld, storage_command};
use crate::dashboard::browser::{browser_node, converse};
use crate::world::header;

#[tokio::test]
async fn a_request_that_is_not_signed_as_it_must_be_is_403() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put(REPOSITORY, "key", b"bytes").await;
    let get = |s3: &S3Client| s3.request(Method::GET, REPOSITORY, "key");

    let wrong = S3Client {
        secret: "another".to_owned(),
        ..s3.clone()
    };
    let unknown = S3Client {
        key_id: "TGAKUNKNOWN".to_owned(),
        ..s3.clone()
    };
    let ago = |seconds| SystemTime::now() - Duration::from_secs(seconds);
    for (response, expected) in [
        (get(&wrong).send().await, "SignatureDoesNotMatch"),
        (get(&unknown).send().await, "InvalidAccessKeyId"),
        (
            get(s3).at(ago(16 * 60)).send().await,
            "RequestTimeTooSkewed",
        ),
        (
            get(s3).unsigned_header("x-amz-meta-a", "b").send().await,
            "AccessDenied",
        ),
    ] {
        assert_eq!(code(response).await, (403, expected.to_owned()));
    }
    let unsigned = s3.client.get(format!("{}/{REPOSITORY}/key", s3.base));
    assert_eq!(code(unsigned.send().await.unwrap()).await.0, 403);
    let version_2 = s3.client.get(format!("{}/{REPOSITORY}/key", s3.base));
    let version_2 = version_2.header("authorization", "AWS key:signature");
    assert_eq!(
        code(version_2.send().await.unwrap()).await,
        (400, "InvalidRequest".to_owned())
    );
}

#[tokio::test]
async fn an_access_line_has_the_operation_of_a_known_key_and_the_repository_that_it_may_use() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let unsigned = s3.client.get(format!("{}/{REPOSITORY}", s3.base));
    let unsigned = unsigned.send().await.unwrap();
    let made = s3.request(Method::PUT, REPOSITORY, "").send().await;
    let unknown = s3.request(Method::GET, REPOSITORY, "").query("foo", "");
    let unknown = unknown.send().await;
    for (answer, status, operation, repository) in [
        (unsigned, 403, Value::Null, Value::Null),
        (made, 409, "CreateBucket".into(), REPOSITORY.into()),
        (unknown, 501, "ListObjects".into(), REPOSITORY.into()),
    ] {
        assert_eq!(answer.status(), status);
        let id = header(&answer, "x-amz-request-id");
        let line = format!("\"request_id\":\"{id}\"");
        let line = world.gateways[0].wait_for_log(&line).await.unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let said = (&line["operation"], &line["repository"]);
        assert_eq!(said, (&operation, &repository), "{line}");
    }
}

#[tokio::test]
async fn a_presigned_url_opens_one_key_for_its_time() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put(REPOSITORY, "key", b"bytes").await;
    let fetch = async |url: String| s3.client.get(url).send().await.unwrap();
    let get = || s3.request(Method::GET, REPOSITORY, "key");
    assert_eq!(
        fetch(get().presigned(60)).await.text().await.unwrap(),
        "bytes"
    );
    let other = get().presigned(60).replace("/key", "/other");
    assert_eq!(
        code(fetch(other).await).await,
        (403, "SignatureDoesNotMatch".to_owned())
    );
    let old = get()
        .at(SystemTime::now() - Duration::from_secs(61))
        .presigned(60);
    assert_eq!(
        code(fetch(old).await).await,
        (403, "AccessDenied".to_owned())
    );
    let long = code(fetch(get().presigned(864_000)).await).await;
    assert_eq!(long, (403, "AccessDenied".to_owned()));
}

#[tokio::test]
async fn a_presigned_url_opens_in_a_browser() {
    let Some(node) = browser_node() else { return };
    let world = StorageWorld::start(&[], &[]).await;
    let put = world
        .s3
        .request(Method::PUT, REPOSITORY, "key")
        .body(b"bytes");
    let put = put.header("content-type", "text/plain").send().await;
    assert_eq!(put.status(), 200);
    let mut command = Command::new(node);
    let url = world
        .s3
        .request(Method::GET, REPOSITORY, "key")
        .presigned(60);
    command.env("URL", url);
    converse(command, "presigned.cjs", async |step| panic!("{step}")).await;
}

#[tokio::test]
async fn a_key_opens_its_own_repository_and_a_reader_writes_nothing() {
    let world = StorageWorld::start(&[], &[]).await;
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    let denied = (403, "AccessDenied".to_owned());
    let reader = world.key("read").await;
    assert_eq!(reader.read(REPOSITORY, "key").await, b"bytes");
    assert_eq!(
        code(reader.put(REPOSITORY, "key", b"x").await).await,
        denied
    );
    assert_eq!(code(reader.delete(REPOSITORY, "key").await).await, denied);

    world
        .storage(&["repository", "add", "another", "--member", "bucket-0"])
        .await;
    assert_eq!(code(world.s3.get("another", "key").await).await, denied);
    let nothing = world.s3.get("nothing-there", "key").await;
    assert_eq!(code(nothing).await, (404, "NoSuchBucket".to_owned()));

    let id = world.storage(&["key", "list", REPOSITORY]).await[1]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    world.storage(&["key", "remove", &id]).await;
    let removed = async || {
        let status = reader.get(REPOSITORY, "key").await.status();
        Ok((status == 403).then_some(()))
    };
    tidegate::testkit::until("the key is gone", crate::world::DEADLINE, removed)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_admin_key_makes_uses_and_removes_repositories_of_its_own_members() {
    let world = StorageWorld::start(&[], &[]).await;
    let denied = (403, "AccessDenied".to_owned());
    assert_eq!(code(world.s3.put("made-here", "", b"").await).await, denied);
    let owned = code(world.s3.put(REPOSITORY, "", b"").await).await;
    assert_eq!(owned, (409, "BucketAlreadyOwnedByYou".to_owned()));
    let admin = world.key("admin").await;
    assert_eq!(admin.put("made-here", "", b"").await.status(), 200);
    assert_eq!(admin.put("made-here", "", b"").await.status(), 200);
    let tags = b"<CreateBucketConfiguration><Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags>\
        </CreateBucketConfiguration>";
    let tagged = code(admin.put("tagged", "", tags).await).await;
    assert_eq!(tagged, (501, "NotImplemented".to_owned()));
    let taken = code(admin.put("bucket-0", "", b"").await).await;
    assert_eq!(taken.0, 409);
    assert_eq!(admin.put("made-here", "key", b"bytes").await.status(), 200);
    assert_eq!(code(world.s3.get("made-here", "key").await).await, denied);
    assert_eq!(code(world.s3.put("made-here", "", b"").await).await, denied);
    let listed = admin.get("", "").await.text().await.unwrap();
    assert!(listed.contains("<Name>made-here</Name>") && listed.contains("<Name>app-data</Name>"));
    let buckets = async |query: &[(&str, &str)]| {
        let mut list = admin.request(Method::GET, "", "");
        for (name, value) in query {
            list = list.query(name, value);
        }
        let list = list.send().await.text().await.unwrap();
        let names = list.split("<Name>").skip(1);
        let names = names.filter_map(|it| Some(it.split_once('<')?.0.to_owned()));
        let token = list.split_once("<ContinuationToken>");
        let token = token.and_then(|(_, rest)| Some(rest.split_once('<')?.0.to_owned()));
        (names.collect::<Vec<_>>(), token)
    };
    assert_eq!(buckets(&[("prefix", "made")]).await.0, ["made-here"]);
    let (names, token) = buckets(&[("max-buckets", "1")]).await;
    assert_eq!(names, [REPOSITORY]);
    let first = token.unwrap();
    let next = ("continuation-token", first.as_str());
    let (names, token) = buckets(&[("max-buckets", "1"), next]).await;
    assert_eq!((names, token), (vec!["made-here".to_owned()], None));
    let remove = storage_command(&world.cluster, &["repository", "remove", REPOSITORY]);
    let removed = remove.output().await.unwrap();
    let said = String::from_utf8(removed.stderr).unwrap();
    assert!(
        !removed.status.success() && said.contains("made with its keys"),
        "{said}"
    );
    let full = code(admin.delete("made-here", "").await).await;
    assert_eq!(full, (409, "BucketNotEmpty".to_owned()));
    admin.delete("made-here", "key").await;
    assert_eq!(admin.delete("made-here", "").await.status(), 204);
    let gone = code(admin.get("made-here", "key").await).await;
    assert_eq!(gone, (404, "NoSuchBucket".to_owned()));
    assert_eq!(code(admin.delete(REPOSITORY, "").await).await, denied);
}

#[tokio::test]
async fn a_body_that_is_not_what_was_declared_is_400_and_nothing_is_visible() {
    let world = StorageWorld::start(&[], &[]).await;
    let put = || {
        world
            .s3
            .request(Method::PUT, REPOSITORY, "key")
            .body(b"bytes")
    };
    let md5 = STANDARD.encode([0; 16]);
    let crc32 = STANDARD.encode([0; 4]);
    for (response, expected) in [
        (put().header("content-md5", &md5).send().await, "BadDigest"),
        (
            put().header("content-md5", "x").send().await,
            "InvalidDigest",
        ),
        (
            put().header("x-amz-checksum-crc32", &crc32).send().await,
            "BadDigest",
        ),
        (
            put().send_with_hash(&hex(&[0; 32])).await,
            "XAmzContentSHA256Mismatch",
        ),
    ] {
        assert_eq!(code(response).await, (400, expected.to_owned()));
    }
    assert_eq!(world.s3.get(REPOSITORY, "key").await.status(), 404);
    assert!(world.buckets.iter().all(|bucket| bucket.sizes().is_empty()));
}

#[tokio::test]
async fn a_dump_of_the_database_has_no_secret_that_can_be_used() {
    let world = StorageWorld::start(&[], &[]).await;
    let dump = world
        .value(
            "select string_agg(t::text, ' ') from (select b::text as t from tidegate.storage_bucket b \
             union all select k::text from tidegate.storage_key k) all_rows",
        )
        .await;
    let secret = super::vendor::SECRET_KEY;
    for secret in [secret, &world.s3.secret] {
        assert!(!dump.contains(secret));
        assert!(!dump.contains(&hex(secret.as_bytes())));
    }
    // What is sealed for one row does not open in another.
    let swapped = "update tidegate.storage_key set secret = (select credentials from tidegate.storage_bucket limit 1)";
    world.cluster.primary.execute(swapped).await.unwrap();
    let command = super::world::storage_command(&world.cluster, &["key", "list", REPOSITORY]);
    let output = command.output().await.unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(listed.contains("belongs to another row"), "{listed}");
}

#[tokio::test]
async fn what_is_sealed_is_sealed_anew_with_the_first_master_key_and_opens_without_the_old_one() {
    let world = StorageWorld::start(&[], &[]).await;
    let new = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
    let both = format!("{new},{}", super::world::MASTER_KEY);
    let run = async |keys: &str, arguments: &[&str]| {
        let command = super::world::storage_command(&world.cluster, arguments);
        let command = command.env("STORAGE_MASTER_KEY", keys).arg("--json");
        command.output().await.unwrap()
    };
    let opens = async || {
        let listed = run(new, &["key", "list", REPOSITORY]).await.stdout;
        let listed: Value = serde_json::from_slice(&listed).unwrap();
        listed[0]["error"].is_null()
    };
    assert!(!opens().await);
    for rewrapped in [3, 0] {
        let output = run(&both, &["rewrap"]).await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            said.trim(),
            format!("{{\"failed\":[],\"rewrapped\":{rewrapped}}}")
        );
    }
    assert!(opens().await);
    assert!(
        run(new, &["bucket", "check", "bucket-0"])
            .await
            .status
            .success()
    );
    let old = super::world::MASTER_KEY;
    assert!(!run(old, &["rewrap"]).await.status.success());
}
