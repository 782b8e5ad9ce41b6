use super::*;

fn message(operation: &str, query: &str, headers: &[(&'static str, &'static str)]) -> String {
    let pairs = headers.iter().copied().map(|(name, value)| {
        (
            http::HeaderName::from_static(name),
            http::HeaderValue::from_static(value),
        )
    });
    match check(operation, query, &pairs.collect()) {
        Ok(()) => String::new(),
        Err(error) => {
            assert_eq!(error.code().as_str(), "NotImplemented");
            error.message().unwrap_or_default().to_owned()
        }
    }
}

#[test]
fn a_parameter_that_an_operation_does_not_have_is_refused_by_its_name() {
    for (operation, query, named) in [
        ("PutObject", "encryption", "encryption"),
        ("PutObject", "renameObject=", "renameObject"),
        ("PutObject", "x-id=PutObject&annotation", "annotation"),
        ("PutObject", "uploadId=abc", "uploadId"),
        ("PutObject", "partNumber=1", "partNumber"),
        ("PutObject", "versionId=null", "versionId"),
        ("PutObject", "%66oo", "foo"),
        ("PutObject", "X-Amz-Tagging=a%3Db", "X-Amz-Tagging"),
        ("PutObject", "x-amz-meta-a=b", "x-amz-meta-a"),
        ("DeleteObject", "acl", "acl"),
        ("DeleteObject", "versionId=abc", "versionId"),
        ("GetObject", "versionId", "versionId"),
        ("CreateBucket", "abac", "abac"),
        (
            "DeleteBucket",
            "metadataConfiguration",
            "metadataConfiguration",
        ),
        ("ListObjects", "list-type=1", "list-type"),
    ] {
        let message = message(operation, query, &[]);
        assert!(message.contains(named), "{operation} {query}: {message}");
    }
}

#[test]
fn a_name_that_is_repeated_is_short_and_visible() {
    let query = format!("%1B%0A{}", "a".repeat(5_000));
    let message = message("PutObject", &query, &[]);
    assert!(message.contains("\\u{1b}\\n"), "{message}");
    assert!(message.len() < 200, "{message}");
    assert!(!message.contains(char::is_control));
}

#[test]
fn what_sdks_send_is_served() {
    let presigned = "X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Date=c&X-Amz-Expires=60&\
                     X-Amz-SignedHeaders=host&X-Amz-Signature=d&X-Amz-Security-Token=e&\
                     x-amz-checksum-mode=ENABLED&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&x-id=GetObject";
    for (operation, query) in [
        ("GetObject", presigned),
        (
            "GetObject",
            "versionId=null&response-content-type=text%2Fplain",
        ),
        (
            "PutObject",
            "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32",
        ),
        ("PutObject", "&x-id=PutObject&"),
        ("UploadPart", "partNumber=1&uploadId=a&x-id=UploadPart"),
        ("ListObjectsV2", "list-type=2&prefix=a%2F&encoding-type=url"),
        ("ListObjectVersions", "versions"),
        ("DeleteObjects", "delete="),
        // `s3s` refuses the operation.
        ("PutBucketAcl", "acl"),
    ] {
        assert_eq!(message(operation, query, &[]), "", "{operation} {query}");
    }
}

#[test]
fn a_field_of_a_form_that_promises_what_is_not_done_is_refused() {
    let is_refused = |name: &str, value: &str| {
        let fields = [
            ("key".to_owned(), "a".to_owned()),
            (name.to_owned(), value.to_owned()),
        ];
        check_fields(&fields).is_err()
    };
    for (name, value) in [
        ("tagging", "<Tagging/>"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-checksum-xxhash64", "a"),
        ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("if-match", ""),
    ] {
        assert!(is_refused(name, value), "{name}");
    }
    for (name, value) in [
        ("x-amz-storage-class", "STANDARD"),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-meta-tagging", "a"),
        ("acl", "private"),
        ("if-none-match", "*"),
    ] {
        assert!(!is_refused(name, value), "{name}");
    }
}

#[test]
fn a_checksum_that_cannot_be_compared_is_refused_by_its_name() {
    let sha512 = [("x-amz-checksum-sha512", "a")];
    let algorithm = [("x-amz-checksum-algorithm", "SHA256")];
    assert_eq!(message("UploadPart", "", &sha512), "");
    assert_eq!(message("CreateMultipartUpload", "", &algorithm), "");
    for (operation, name) in [
        ("PutObject", "x-amz-checksum-xxhash64"),
        ("DeleteObjects", "x-amz-checksum-foo"),
        ("CompleteMultipartUpload", "x-amz-checksum-sha256"),
        ("CopyObject", "x-amz-checksum-crc32"),
    ] {
        assert!(message(operation, "", &[(name, "a")]).contains(name));
        // A parameter of a presigned URL is the same.
        assert!(message(operation, &format!("{name}=a"), &[]).contains(name));
    }
    let trailer = |name| message("PutObject", "", &[("x-amz-trailer", name)]);
    assert_eq!(trailer("x-amz-checksum-md5, X-Amz-Checksum-Crc32"), "");
    for name in ["x-amz-checksum-xxhash3", "x-amz-meta-a"] {
        assert!(trailer(name).contains(name));
    }
}

#[test]
fn a_condition_that_is_not_judged_is_refused_by_its_name() {
    for (operation, name) in [
        ("PutObject", "if-unmodified-since"),
        ("DeleteObject", "if-none-match"),
        ("UploadPart", "if-match"),
    ] {
        let message = message(operation, "", &[(name, "*")]);
        assert!(message.contains(name), "{operation}: {message}");
    }
    assert_eq!(message("GetObject", "", &[("if-none-match", "*")]), "");
    assert_eq!(message("ListObjects", "", &[("if-none-match", "a")]), "");
}

#[test]
fn a_header_that_promises_what_is_not_done_is_refused_by_its_name() {
    for (name, value) in [
        ("x-amz-write-offset-bytes", "5"),
        ("x-amz-rename-source-if-match", "a"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-server-side-encryption-customer-key", "a"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-bucket-object-lock-enabled", "true"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-website-redirect-location", "/"),
        ("x-amz-storage-class", "GLACIER"),
    ] {
        let message = message("PutObject", "", &[(name, value)]);
        assert!(message.contains(name), "{name}: {message}");
    }
    for (name, value) in [
        ("x-amz-storage-class", "STANDARD"),
        ("x-amz-acl", "private"),
        ("x-amz-meta-tagging", "a"),
        ("x-amz-tagging-directive", "REPLACE"),
        ("x-amz-bucket-object-lock-enabled", "False"),
        ("x-amz-expected-bucket-owner", "123456789012"),
    ] {
        assert_eq!(message("PutObject", "", &[(name, value)]), "", "{name}");
    }
}

#[test]
fn an_empty_condition_of_a_read_is_refused() {
    let refused = |operation: &str, name: &'static str| {
        let name = http::HeaderName::from_static(name);
        let headers = [(name, http::HeaderValue::from_static(""))];
        let checked = check(operation, "", &headers.into_iter().collect());
        checked.err().map(|error| error.code().as_str().to_owned())
    };
    for name in ["if-match", "if-modified-since"] {
        let invalid = Some("InvalidArgument".to_owned());
        assert_eq!(refused("GetObject", name), invalid, "{name}");
        assert_eq!(refused("HeadObject", name), invalid, "{name}");
        assert_eq!(refused("ListParts", name), None, "{name}");
    }
}
