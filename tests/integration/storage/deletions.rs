//! `DeleteObjects`: lists that are not what they seem, keys of older versions, and no primary that answers.

use http::Method;

use super::s3_client::{S3Client, code};
use super::world::{REPOSITORY, StorageWorld};

async fn delete(s3: &S3Client, keys: &[&str]) -> reqwest::Response {
    let list: String = keys
        .iter()
        .map(|key| format!("<Object><Key>{key}</Key></Object>"))
        .collect();
    let list = format!("<Delete>{list}</Delete>");
    let request = s3.request(Method::POST, REPOSITORY, "").query("delete", "");
    request.body(list.as_bytes()).send().await
}

#[tokio::test]
async fn keys_that_the_primary_does_not_delete_are_503_at_once() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    for key in ["a", "b", "c"] {
        s3.put(REPOSITORY, key, b"bytes").await;
    }
    let holder = world.cluster.primary.client().await.unwrap();
    let lock = "begin; select tidegate.storage_lock(id, 'b') from tidegate.storage_repository";
    holder.batch_execute(lock).await.unwrap();
    let too_long = "x".repeat(1_025);
    let partly = delete(s3, &["a", "b", "c", &too_long]).await;
    assert_eq!(partly.status(), 200);
    let answer = partly.text().await.unwrap();
    assert!(
        answer.contains("<Deleted><Key>a</Key></Deleted>"),
        "{answer}"
    );
    let unavailable = answer.matches("<Code>ServiceUnavailable</Code>").count();
    assert_eq!((answer.matches("<Deleted>").count(), unavailable), (1, 3));
    let nothing = delete(s3, &[&too_long, "b", "c"]).await;
    let after = nothing.headers().get("retry-after").cloned();
    assert_eq!(after.unwrap(), "1");
    let expected = (503, "ServiceUnavailable".to_owned());
    assert_eq!(code(nothing).await, expected);
    holder.batch_execute("rollback").await.unwrap();
    assert_eq!(s3.read(REPOSITORY, "c").await, b"bytes");
    assert_eq!(delete(s3, &["b", "c"]).await.status(), 200);
    for key in ["a", "b", "c"] {
        assert_eq!(s3.get(REPOSITORY, key).await.status(), 404, "{key}");
    }
}

#[tokio::test]
async fn text_after_a_list_of_keys_is_malformed_and_deletes_nothing() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put(REPOSITORY, "key", b"bytes").await;
    let list = "<Delete><Object><Key>key</Key></Object></Delete>";
    let send = async |list: &str| {
        let request = s3.request(Method::POST, REPOSITORY, "").query("delete", "");
        request.body(list.as_bytes()).send().await
    };
    let refused = send(&format!("{list}junk")).await;
    assert_eq!(code(refused).await, (400, "MalformedXML".to_owned()));
    assert_eq!(s3.read(REPOSITORY, "key").await, b"bytes");
    assert_eq!(send(&format!("{list}\n")).await.status(), 200);
    assert_eq!(s3.get(REPOSITORY, "key").await.status(), 404);
}

#[tokio::test]
async fn objects_under_keys_that_only_older_versions_have_stored_are_deleted() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let too_long = "x".repeat(1_025);
    for key in ["", too_long.as_str()] {
        let refused = delete(s3, &[key]).await;
        let status = refused.status().as_u16();
        let answer = refused.text().await.unwrap();
        assert!(!answer.contains("<Deleted>"), "{answer}");
        assert_eq!(status, if key.is_empty() { 400 } else { 200 });
        s3.put(REPOSITORY, "key", b"bytes").await;
        let renamed = format!("update tidegate.storage_object set key = '{key}' where key = 'key'");
        world.cluster.primary.execute(&renamed).await.unwrap();
        let deleted = delete(s3, &[key]).await;
        assert_eq!(deleted.status(), 200);
        let answer = deleted.text().await.unwrap();
        assert!(answer.contains("<Deleted>"), "{answer}");
    }
    let left = "select count(*) from tidegate.storage_object";
    assert_eq!(world.value(left).await, "0");
}
