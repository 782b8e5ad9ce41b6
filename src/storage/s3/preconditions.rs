//! Conditions on what a request changes or reads, by operation: pure. One that is not judged would be taken for
//! one that holds.

/// The conditions on the object that is written.
const TARGET: [&str; 2] = ["if-match", "if-none-match"];
/// The conditions on the object that is copied.
const SOURCE: [&str; 4] = [
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
];

/// The conditions on the object that is read.
const READ: [&str; 4] = [
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
];

/// What becomes of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The operation judges it, or it is no condition.
    Served,
    /// The operation does not judge it.
    Unserved,
    /// It cannot be read.
    Malformed,
}

/// Judges a header, or a field of a form, of an operation that changes something.
pub(super) fn standing(operation: &str, name: &str, value: &[u8]) -> Standing {
    let is_condition = TARGET.contains(&name)
        || ["if-modified-since", "if-unmodified-since"].contains(&name)
        || name == "x-amz-copy-source-range"
        || name.starts_with("x-amz-copy-source-if-")
        || name.starts_with("x-amz-if-");
    if !is_condition {
        return Standing::Served;
    }
    if !is_served(operation, name) {
        return Standing::Unserved;
    }
    let text = String::from_utf8_lossy(value);
    let text = text.trim();
    let has_tags = name.ends_with("if-match") || name.ends_with("if-none-match");
    match (has_tags, tags(text).map(|tags| tags.len())) {
        // The index compares one with the object that it replaces.
        (true, Some(2..)) if TARGET.contains(&name) => Standing::Unserved,
        (true, None) => Standing::Malformed,
        (true, Some(_)) => Standing::Served,
        (false, _) if text.is_empty() => Standing::Malformed,
        (false, _) if name == "x-amz-if-match-size" && !is_number(text) => Standing::Malformed,
        (false, _) => Standing::Served,
    }
}

/// Whether a header of an operation is a condition on the object that it reads, and means nothing: `s3s` passes over
/// an empty one. It reads the dates itself.
pub(super) fn is_malformed_in_read(operation: &str, name: &str, value: &[u8]) -> bool {
    if !["GetObject", "HeadObject"].contains(&operation) || !READ.contains(&name) {
        return false;
    }
    let text = String::from_utf8_lossy(value);
    let text = text.trim();
    match name {
        "if-match" | "if-none-match" => tags(text).is_none(),
        _ => text.is_empty(),
    }
}

fn is_served(operation: &str, name: &str) -> bool {
    match operation {
        "PutObject" | "PostObject" | "CompleteMultipartUpload" => TARGET.contains(&name),
        "CopyObject" => TARGET.contains(&name) || SOURCE.contains(&name),
        "UploadPartCopy" => SOURCE.contains(&name) || name == "x-amz-copy-source-range",
        "DeleteObject" => [
            "if-match",
            "x-amz-if-match-last-modified-time",
            "x-amz-if-match-size",
        ]
        .contains(&name),
        _ => false,
    }
}

/// The tags of a list of `ETags`, or `*`; none if it is not one. A single tag may lack its quotes, as S3 has it.
pub(super) fn tags(text: &str) -> Option<Vec<&str>> {
    if !text.contains('"') {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_one = text == "*" || !text.is_empty() && text.bytes().all(is_plain);
        return is_one.then(|| vec![text]);
    }
    let (mut rest, mut tags) = (text, Vec::new());
    loop {
        let quoted = rest.strip_prefix("W/").unwrap_or(rest);
        let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
        tags.push(tag);
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(tags);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::Standing::{Malformed, Served, Unserved};
    use super::*;

    #[test]
    fn a_condition_that_an_operation_does_not_judge_is_not_passed_over() {
        let date = "Thu, 01 Jan 1970 00:00:00 GMT";
        for (operation, name, value, expected) in [
            ("PutObject", "if-match", "\"a\"", Served),
            ("PutObject", "if-match", "*", Served),
            ("PutObject", "if-match", "a-1", Served),
            ("PutObject", "if-match", "", Malformed),
            ("PutObject", "if-none-match", "\"a\", \"b\"", Unserved),
            ("PutObject", "if-none-match", "\"a\" \"b\"", Malformed),
            ("PutObject", "if-unmodified-since", date, Unserved),
            ("PutObject", "x-amz-if-match-size", "1", Unserved),
            ("PutObject", "content-type", "", Served),
            ("UploadPart", "if-match", "*", Unserved),
            ("CreateBucket", "if-none-match", "*", Unserved),
            ("DeleteObject", "if-none-match", "*", Unserved),
            ("DeleteObject", "if-modified-since", date, Unserved),
            ("DeleteObject", "if-match", " ", Malformed),
            ("DeleteObject", "x-amz-if-match-size", "5", Served),
            ("DeleteObject", "x-amz-if-match-size", "5x", Malformed),
            (
                "DeleteObject",
                "x-amz-if-match-last-modified-time",
                date,
                Served,
            ),
            (
                "AbortMultipartUpload",
                "x-amz-if-match-initiated-time",
                date,
                Unserved,
            ),
            (
                "CopyObject",
                "x-amz-copy-source-if-match",
                "\"a\",W/\"b\"",
                Served,
            ),
            (
                "CopyObject",
                "x-amz-copy-source-range",
                "bytes=0-1",
                Unserved,
            ),
            ("UploadPartCopy", "x-amz-copy-source-range", "", Malformed),
            (
                "UploadPartCopy",
                "x-amz-copy-source-if-modified-since",
                date,
                Served,
            ),
        ] {
            let standing = standing(operation, name, value.as_bytes());
            assert_eq!(standing, expected, "{operation} {name}: {value}");
        }
    }

    #[test]
    fn an_empty_condition_of_a_read_is_malformed() {
        for name in READ {
            for operation in ["GetObject", "HeadObject"] {
                for value in ["", " "] {
                    assert!(is_malformed_in_read(operation, name, value.as_bytes()));
                }
            }
            // They do not judge any.
            for operation in ["ListObjectsV2", "GetObjectAttributes"] {
                assert!(!is_malformed_in_read(operation, name, b""), "{operation}");
            }
        }
        let is_malformed =
            |name, value: &str| is_malformed_in_read("GetObject", name, value.as_bytes());
        for value in ["*", "abc-2", "\"a\"", "W/\"a\", \"b\""] {
            assert!(!is_malformed("if-match", value), "{value}");
            assert!(!is_malformed("if-none-match", value), "{value}");
        }
        assert!(is_malformed("if-none-match", "\"a\" \"b\""));
        assert!(!is_malformed("if-range", ""));
    }

    #[test]
    fn a_list_of_etags_is_read() {
        assert_eq!(tags("\"a,b\", W/\"c\",\"\""), Some(vec!["a,b", "c", ""]));
        assert_eq!(tags("abc-2"), Some(vec!["abc-2"]));
        for malformed in ["", "\"a", "\"a\",", "a, b", "*, \"a\"", "\"a\"b\""] {
            assert_eq!(tags(malformed), None, "{malformed}");
        }
    }
}
