//! What is asked for and not served is refused before anything is done.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use md5::{Digest, Md5};

use super::s3_client::{S3Client, code};
use super::world::{REPOSITORY, StorageWorld, storage_command};

/// A request with parameters that have no values.
async fn asked(s3: &S3Client, method: Method, at: (&str, &str), query: &[(&str, &str)]) -> u16 {
    let mut request = s3.request(method, at.0, at.1).body(b"other");
    for (name, value) in query {
        request = request.query(name, value);
    }
    code(request.send().await).await.0
}

#[tokio::test]
async fn a_sub_resource_that_is_not_served_changes_nothing() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let key = (REPOSITORY, "key");
    s3.put(REPOSITORY, "key", b"bytes").await;
    for name in [
        "encryption",
        "renameObject",
        "annotation",
        "restore",
        "torrent",
        "append",
        "website",
        "foo",
        "uploadId",
        "partNumber",
        "versionId",
    ] {
        assert_eq!(
            asked(s3, Method::PUT, key, &[(name, "1")]).await,
            501,
            "{name}"
        );
    }
    for name in ["annotation", "legal-hold", "acl", "foo", "versionId"] {
        let status = asked(s3, Method::DELETE, key, &[(name, "")]).await;
        assert_eq!(status, 501, "{name}");
    }
    for (name, value) in [
        ("x-amz-write-offset-bytes", "5"),
        ("x-amz-rename-source-if-match", "a"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-storage-class", "GLACIER"),
    ] {
        let put = s3.request(Method::PUT, REPOSITORY, "key").body(b"other");
        let put = put.header(name, value).send().await;
        assert_eq!(
            code(put).await,
            (501, "NotImplemented".to_owned()),
            "{name}"
        );
    }
    assert_eq!(s3.read(REPOSITORY, "key").await, b"bytes");

    let admin = world.key("admin").await;
    let created = asked(&admin, Method::PUT, ("made-so", ""), &[("abac", "")]).await;
    assert_eq!(created, 501);
    assert_eq!(admin.get("made-so", "").await.status(), 404);
    let made = admin.request(Method::PUT, "made-so", "").send().await;
    assert_eq!(made.status(), 200);
    let query = [("metadataConfiguration", "")];
    let removed = asked(&admin, Method::DELETE, ("made-so", ""), &query).await;
    assert_eq!(removed, 501);
    assert_eq!(admin.get("made-so", "").await.status(), 200);
}

#[tokio::test]
async fn a_copy_is_made_only_if_the_conditions_on_its_target_hold() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put(REPOSITORY, "from", b"new").await;
    let put = s3.put(REPOSITORY, "to", b"old").await;
    let etag = put.headers()["etag"].to_str().unwrap().to_owned();
    let copy = async |bucket: &str, key: &str, name: &str, value: &str| {
        let source = format!("/{REPOSITORY}/from");
        let copy = s3.request(Method::PUT, bucket, key);
        let copy = copy.header("x-amz-copy-source", &source);
        copy.header(name, value).send().await.status().as_u16()
    };
    assert_eq!(copy(REPOSITORY, "to", "if-none-match", "*").await, 412);
    assert_eq!(copy(REPOSITORY, "to", "if-match", "\"other\"").await, 412);
    assert_eq!(copy(REPOSITORY, "absent", "if-match", "*").await, 404);
    assert_eq!(copy(REPOSITORY, "to", "if-match", "\"open").await, 400);
    assert_eq!(s3.read(REPOSITORY, "to").await, b"old");
    // One more copy of the same version, which has to be that one.
    assert_eq!(copy("bucket-1", "from", "if-match", "\"other\"").await, 412);
    assert_eq!(s3.get("bucket-1", "from").await.status(), 404);
    assert_eq!(copy(REPOSITORY, "to", "if-match", &etag).await, 200);
    assert_eq!(s3.read(REPOSITORY, "to").await, b"new");
}

#[tokio::test]
async fn keys_are_deleted_only_if_their_list_is_what_was_sent_and_they_name_no_version() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put(REPOSITORY, "key", b"bytes").await;
    let delete = async |list: &str, headers: &[(&str, &str)]| {
        let request = s3.request(Method::POST, REPOSITORY, "");
        let mut request = request.query("delete", "");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(list.as_bytes()).send().await
    };
    let list = "<Delete><Object><Key>key</Key></Object></Delete>";
    for header in [
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ("x-amz-checksum-crc32", "AAAAAA=="),
    ] {
        let refused = delete(list, &[header]).await;
        assert_eq!(code(refused).await, (400, "BadDigest".to_owned()));
    }
    let trailer = ("x-amz-trailer", "x-amz-checksum-crc32");
    assert_eq!(delete(list, &[trailer]).await.status(), 400);
    let version = list.replace("</Key>", "</Key><VersionId>1</VersionId>");
    let answer = delete(&version, &[]).await.text().await.unwrap();
    assert!(answer.contains("<Code>NotImplemented</Code>"), "{answer}");
    assert_eq!(s3.read(REPOSITORY, "key").await, b"bytes");
    let version = version.replace("<VersionId>1", "<VersionId>null");
    let digest = STANDARD.encode(Md5::digest(&version));
    let answer = delete(&version, &[("content-md5", digest.as_str())]).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(s3.get(REPOSITORY, "key").await.status(), 404);
}

#[tokio::test]
async fn answers_are_xml_and_name_the_keys_that_are_meant() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    for key in ["ctl\u{1}m", "a\rb", "a", "ab"] {
        assert_eq!(s3.put(REPOSITORY, key, b"x").await.status(), 200);
    }
    let delete = async |keys: &str| {
        let list = format!("<Delete><Object><Key>{keys}</Key></Object></Delete>");
        let request = s3.request(Method::POST, REPOSITORY, "").query("delete", "");
        let response = request.body(list.as_bytes()).send().await;
        let status = response.status().as_u16();
        (status, response.text().await.unwrap())
    };
    let (status, answer) = delete("ctl\u{1}m").await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("<Deleted></Deleted>"), "{answer}");
    assert_eq!(s3.get(REPOSITORY, "ctl\u{1}m").await.status(), 404);
    let listed = s3.list(REPOSITORY, &[]).await;
    assert!(listed.contains("<Key>a&#13;b</Key>"), "{listed}");
    for key in ["a<![CDATA[b]]>", "<![CDATA[a]]>"] {
        assert_eq!(delete(key).await.0, 501, "{key}");
    }
    assert_eq!(delete("").await.0, 400);
    let (_, answer) = delete(&"x".repeat(1_025)).await;
    assert!(answer.contains("<Code>KeyTooLongError</Code>"), "{answer}");
    assert_eq!(s3.read(REPOSITORY, "a").await, b"x");
    assert_eq!(s3.read(REPOSITORY, "ab").await, b"x");
    // An upload can be used although its key is not in the answer.
    let begin = s3.request(Method::POST, REPOSITORY, "up\u{1}load");
    let begun = begin.query("uploads", "").send().await;
    let begun = begun.text().await.unwrap();
    assert!(
        begun.contains("<UploadId>") && !begun.contains("<Key>"),
        "{begun}"
    );
    assert!(!begun.contains('\u{1}'), "{begun}");
}

#[tokio::test]
async fn what_could_never_be_written_to_is_refused_when_it_is_declared() {
    let world = StorageWorld::start(&[], &["--write", "copies:2"]).await;
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("tidegate.toml");
    let inside = root.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    let settings = format!("[storage]\nfile_root = \"{}\"\n", inside.display());
    std::fs::write(&file, settings).unwrap();
    let outside = format!("file://{}", root.path().display());
    let bucket = [
        "bucket",
        "add",
        "files",
        "--region",
        "here",
        "--provider",
        "file",
        "--url",
    ];
    let bucket = [&bucket[..], &[&outside]].concat();
    // Without a root of its own, the command cannot know what that of the gateways is.
    let unchecked = [&["bucket", "add", "unchecked"][..], &bucket[3..]].concat();
    let output = storage_command(&world.cluster, &unchecked).output().await;
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("file_root is not set here"), "{told}");
    let repository = ["repository", "add", "more", "--member", "bucket-0"];
    let repository = [&repository[..], &["--write", "copies:2"]].concat();
    let change = ["repository", "change", REPOSITORY, "--member", "bucket-0"];
    for (arguments, why) in [
        (bucket, "below [storage] file_root"),
        (repository, "copies:2 needs 2 members, not 1"),
        (change.to_vec(), "copies:2 needs 2 members, not 1"),
    ] {
        let command = storage_command(&world.cluster, &arguments);
        let output = command
            .env("TIDEGATE_CONFIG", &file)
            .output()
            .await
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(why), "{told}");
    }
    let buckets = world.storage(&["bucket", "list"]).await;
    assert_eq!(buckets.as_array().unwrap().len(), 3);
}
