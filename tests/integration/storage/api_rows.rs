//! Rows that several operators change at the same time, and rows that cannot be opened.

use http::Method;
use serde_json::{Value, json};
use tidegate::testkit::until;

use super::api_client::ApiClient;
use super::s3_client::code;
use super::world::{REPOSITORY, StorageWorld, storage_command};
use crate::world::DEADLINE;

#[tokio::test]
async fn changes_of_different_fields_at_the_same_time_all_hold() {
    let world = StorageWorld::start(&[], &[]).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let path = format!("/repo/{REPOSITORY}");
    let rules = json!([{"prefix": "logs/", "write": "credit", "members": []}]);
    for round in 1..=8_u32 {
        let patches = [
            (&*path, json!({"readSlo": format!("{round}ms")})),
            (&path, json!({"redirect": round % 2 == 0})),
            (
                &path,
                json!({"rules": if round % 2 == 0 { rules.clone() } else { json!([]) }}),
            ),
            ("/bucket/bucket-0", json!({"credit": round})),
            ("/bucket/bucket-0", json!({"quota": 1_000 + round})),
        ];
        let sent = patches
            .iter()
            .map(|(path, body)| api.change(Method::PATCH, path, body));
        futures_util::future::join_all(sent).await;
        let repository = &api.get(&path).await["data"];
        let bucket = &api.get("/bucket/bucket-0").await["data"];
        for (path, body) in &patches {
            let shown = if path.starts_with("/repo") {
                repository
            } else {
                bucket
            };
            for (field, value) in body.as_object().unwrap() {
                assert_eq!(shown[field], *value, "{field} in round {round}: {shown}");
            }
        }
    }
}

/// Waits for the answer to a request while a row that it needs is being removed.
async fn while_removing<T>(
    world: &StorageWorld,
    removal: &str,
    request: impl Future<Output = T>,
) -> T {
    let client = world.cluster.primary.client().await.unwrap();
    let removal = format!("begin; {removal}");
    client.batch_execute(&removal).await.unwrap();
    let committed = async {
        let waiting = "select count(*) from pg_stat_activity \
             where wait_event_type = 'Lock' and query ~ 'storage_(key|member)'";
        until("the request waits for the removal", DEADLINE, async || {
            Ok((world.value(waiting).await != "0").then_some(()))
        })
        .await
        .unwrap();
        client.batch_execute("commit").await.unwrap();
    };
    futures_util::future::join(request, committed).await.0
}

/// The same for a request of the JSON API; returns status and detail.
async fn during_removal(
    world: &StorageWorld,
    removal: &str,
    (method, path, body): (Method, &str, Value),
) -> (u16, String) {
    let api = ApiClient::of(&world.gateways[0]).await;
    let body = body.to_string();
    let sent = api.send(method, path, Some(&body));
    let (status, answer) = while_removing(world, removal, sent).await;
    let detail = answer["detail"].as_str().unwrap_or_default();
    (status, detail.to_owned())
}

#[tokio::test]
async fn a_key_whose_repository_is_removed_meanwhile_makes_no_other() {
    let world = StorageWorld::start(&[], &[]).await;
    let other = ["repository", "add", "other-data", "--member", "bucket-0"];
    world.storage(&other).await;
    let admin = world.key_of("other-data", "admin").await;
    let removal = "delete from tidegate.storage_repository where name = 'other-data'";
    let made = admin.request(Method::PUT, "new-data", "").send();
    let made = while_removing(&world, removal, made).await;
    assert_eq!(code(made).await, (403, "AccessDenied".to_owned()));
    let there = "select count(*) from tidegate.storage_name where name = 'new-data'";
    assert_eq!(world.value(there).await, "0");
}

#[tokio::test]
async fn what_is_removed_meanwhile_is_refused_and_not_left_out() {
    let world = StorageWorld::with(4, &[], &[], "", 0).await;
    let path = format!("/repo/{REPOSITORY}");
    let api = ApiClient::of(&world.gateways[0]).await;
    let alone = json!({"buckets": ["bucket-0"]});
    api.change(Method::PATCH, &path, &alone).await;
    world
        .storage(&["repository", "add", "other-data", "--member", "bucket-0"])
        .await;

    let removal = "delete from tidegate.storage_repository where name = 'other-data'";
    let key = (
        Method::POST,
        "/repo/other-data/apikey",
        json!({"mode": "read"}),
    );
    let (status, detail) = during_removal(&world, removal, key).await;
    assert_eq!((status, detail.contains("other-data")), (404, true));

    let both = |bucket: &str| json!(["bucket-0", bucket]);
    let member = json!({"name": "new-data", "buckets": both("bucket-1")});
    let mirror = json!({"name": "new-data", "buckets": ["bucket-0"], "mirror": {"to": "bucket-2"}});
    let change = json!({"buckets": both("bucket-3")});
    for (bucket, request) in [
        ("bucket-1", (Method::POST, "/repo", member)),
        ("bucket-2", (Method::POST, "/repo", mirror)),
        ("bucket-3", (Method::PATCH, &*path, change)),
    ] {
        let removal = format!("delete from tidegate.storage_bucket where name = '{bucket}'");
        let (status, detail) = during_removal(&world, &removal, request).await;
        assert_eq!(status, 400, "{bucket}: {detail}");
        assert!(detail.starts_with("buckets: "), "{bucket}: {detail}");
    }
    let repositories = api.get("/repo").await;
    assert_eq!(repositories["total"], 1);
    assert_eq!(repositories["data"][0]["buckets"], alone["buckets"]);
}

#[tokio::test]
async fn a_name_that_is_the_id_of_another_row_does_not_stand_in_its_place() {
    let world = StorageWorld::start(&[], &[]).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let other = ["repository", "add", "other-data", "--member", "bucket-1"];
    world.storage(&other).await;
    let id = async |path: &str| {
        let row = &api.get(path).await["data"];
        row["id"].as_str().unwrap().to_owned()
    };
    let repository = id(&format!("/repo/{REPOSITORY}")).await;
    let bucket = id("/bucket/bucket-0").await;
    let admin = world.key("admin").await;
    let made = admin.request(Method::PUT, &repository, "").send().await;
    assert_eq!(code(made).await, (400, "InvalidBucketName".to_owned()));
    let added = json!({"name": repository, "buckets": ["bucket-0"]});
    let (status, answer) = api
        .send(Method::POST, "/repo", Some(&added.to_string()))
        .await;
    assert_eq!(status, 400, "{answer}");
    // As they could be named before.
    for sql in [
        format!(
            "update tidegate.storage_repository set name = '{repository}' where name = 'other-data'"
        ),
        format!("update tidegate.storage_bucket set name = '{bucket}' where name = 'bucket-1'"),
    ] {
        world.cluster.primary.execute(&sql).await.unwrap();
    }
    let path = format!("/repo/{repository}");
    assert_eq!(api.get(&path).await["data"]["name"], REPOSITORY);
    let change = json!({"buckets": [bucket]});
    let changed = api.change(Method::PATCH, &path, &change).await;
    assert_eq!(changed["name"], REPOSITORY);
    assert_eq!(changed["buckets"], json!(["bucket-0"]));
    world
        .storage(&["key", "add", &repository, "--mode", "read"])
        .await;
    let keys = format!("/repo/{REPOSITORY}/apikey");
    assert_eq!(api.get(&keys).await["total"], 3);
}

#[tokio::test]
async fn a_repository_with_a_name_that_no_new_one_gets_can_be_made_again_by_its_key() {
    let world = StorageWorld::start(&[], &[]).await;
    let admin = world.key("admin").await;
    let name = "0123456789abcdef0123456789abcdef";
    for table in ["storage_repository", "storage_name"] {
        let sql =
            format!("update tidegate.{table} set name = '{name}' where name = '{REPOSITORY}'");
        world.cluster.primary.execute(&sql).await.unwrap();
    }
    until("it can be made again", DEADLINE, async || {
        let made = admin.request(Method::PUT, name, "").send().await;
        Ok((made.status() == 200).then_some(()))
    })
    .await
    .unwrap();
    let other = admin.request(Method::PUT, &name.replace('0', "f"), "");
    let other = code(other.send().await).await;
    assert_eq!(other, (400, "InvalidBucketName".to_owned()));
}

/// A bucket, a repository and a key that nothing can open.
const BREAKING: [&str; 3] = [
    "update tidegate.storage_bucket set credentials = 'x' where name = 'bucket-1'",
    "update tidegate.storage_repository set policy = '{\"write\": \"elsewhere\"}' where name = 'other-data'",
    // Sealed with the right key; its last byte is another one.
    "update tidegate.storage_key k set secret = set_byte(k.secret, length(k.secret) - 1, \
     get_byte(k.secret, length(k.secret) - 1) # 1) from tidegate.storage_repository r \
     where r.id = k.repository and r.name = 'third-data'",
];

/// A world with a row of each kind that cannot be opened.
async fn broken() -> (StorageWorld, ApiClient) {
    let world = StorageWorld::start(&[], &[]).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    for name in ["other-data", "third-data"] {
        world
            .storage(&["repository", "add", name, "--member", "bucket-0"])
            .await;
        world.storage(&["key", "add", name, "--mode", "read"]).await;
    }
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    for sql in BREAKING {
        world.cluster.primary.execute(sql).await.unwrap();
    }
    (world, api)
}

/// How many rows of a list have an error.
fn errors(answer: &Value) -> usize {
    let all = answer["data"].as_array().unwrap().iter();
    all.filter(|it| it["error"].is_string()).count()
}

#[tokio::test]
async fn a_row_that_cannot_be_opened_is_shown_with_an_error_and_holds_no_other_up() {
    let (world, api) = broken().await;
    let buckets = api.get("/bucket").await;
    assert_eq!((&buckets["total"], errors(&buckets)), (&json!(2), 1));
    let repositories = api.get("/repo").await;
    assert_eq!(
        (&repositories["total"], errors(&repositories)),
        (&json!(3), 1)
    );
    let keys = api.get("/repo/third-data/apikey").await;
    assert_eq!((&keys["total"], errors(&keys)), (&json!(1), 1));
    assert_eq!(
        errors(&api.get(&format!("/repo/{REPOSITORY}/apikey")).await),
        0
    );
    assert!(!buckets.to_string().contains("secret"));
    // What can be opened works as before.
    until("the rows are read", DEADLINE, async || {
        let read = world.s3.get(REPOSITORY, "key").await;
        Ok((read.status() == 200).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(
        world.s3.put(REPOSITORY, "new", b"bytes").await.status(),
        200
    );
    api.change(
        Method::PATCH,
        "/bucket/bucket-0",
        &json!({"quota": 1_000_000}),
    )
    .await;
    let path = format!("/repo/{REPOSITORY}");
    api.change(Method::PATCH, &path, &json!({"readSlo": "50ms"}))
        .await;
    let refused = api
        .send(Method::PATCH, "/repo/other-data", Some("{}"))
        .await;
    assert_eq!(refused.0, 400, "{}", refused.1);
}

/// Runs a command that fails; returns what it says.
async fn failed(world: &StorageWorld, arguments: &[&str]) -> (Option<i32>, String) {
    let output = storage_command(&world.cluster, arguments).output().await;
    let output = output.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    (output.status.code(), said)
}

#[tokio::test]
async fn commands_name_what_cannot_be_opened_and_each_row_can_be_mended() {
    let (world, api) = broken().await;
    let (code, said) = failed(&world, &["rewrap"]).await;
    let all = said.contains("bucket bucket-1") && said.contains("key ");
    assert!(code == Some(1) && all, "{said}");
    // It may be the one that is mirrored to the bucket.
    let (_, said) = failed(&world, &["drain", "bucket-0"]).await;
    assert!(said.contains("other-data"), "{said}");
    let keys = api.get("/repo/third-data/apikey").await;
    let id = keys["data"][0]["id"].as_str().unwrap();
    for rotate in [r#"{"rotate": "begin"}"#, r#"{"rotate": "finish"}"#] {
        let path = format!("/repo/third-data/apikey/{id}");
        let (status, refused) = api.send(Method::PATCH, &path, Some(rotate)).await;
        let detail = refused["detail"].as_str().unwrap();
        assert_eq!(status, 400, "{detail}");
        assert!(detail.contains("make another one"), "{detail}");
    }
    world.storage(&["key", "remove", id]).await;
    world.storage(&["bucket", "credentials", "bucket-1"]).await;
    assert_eq!(errors(&api.get("/bucket").await), 0);
    let defaults = "update tidegate.storage_repository set policy = '{}', revision = revision + 1 \
         where name = 'other-data'";
    world.cluster.primary.execute(defaults).await.unwrap();
    let nearest = json!({"write": "nearest"});
    let mended = api
        .change(Method::PATCH, "/repo/other-data", &nearest)
        .await;
    assert_eq!(mended["write"], "nearest");
    assert_eq!(errors(&api.get("/repo").await), 0);
    world.storage(&["rewrap"]).await;
    world.storage(&["repository", "remove", "other-data"]).await;
}
