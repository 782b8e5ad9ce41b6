//! What is refused before `s3s` reads a request: signatures of version 2, presigned URLs that are valid
//! for more than seven days, headers that must be signed and are not, and keys that cannot be stored.

use http::Request;
use s3s::{S3Result, s3_error};

use super::keys;
use crate::http::is_chunked;

/// Seconds that a presigned URL may be valid.
const EXPIRES_MAX: u64 = 7 * 24 * 3_600;
/// The file of a form, which is held in memory before access is checked.
pub(super) const FORM_BYTES_MAX: u64 = 16 << 20;
/// The rest of a form.
pub(super) const FORM_FIELDS_BYTES_MAX: u64 = 1 << 20;
/// All of a form.
const FORM_LENGTH_MAX: u64 = FORM_BYTES_MAX + FORM_FIELDS_BYTES_MAX;

/// Where a copy comes from: `/bucket/key`.
const COPY_SOURCE: http::HeaderName = http::HeaderName::from_static("x-amz-copy-source");

/// Refuses a request by its head.
pub(super) fn check<B>(request: &Request<B>) -> S3Result<()> {
    let query = request.uri().query().unwrap_or_default();
    let authorization = request.headers().get(http::header::AUTHORIZATION);
    let authorization = authorization.map(|it| it.to_str().unwrap_or_default());
    if is_signature_v2(query, authorization) {
        return Err(s3_error!(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        ));
    }
    if is_chunked(request.headers()).is_err() {
        return Err(s3_error!(
            NotImplemented,
            "a transfer coding other than chunked is not understood"
        ));
    }
    check_texts(request)?;
    if is_large_form(request) {
        return Err(s3_error!(EntityTooLarge, "a form can have 16 MiB at most"));
    }
    let expires = parameter(query, "X-Amz-Expires");
    let expires = expires.map(|text| text.parse().unwrap_or(u64::MAX));
    if expires.is_some_and(|seconds| !(1..=EXPIRES_MAX).contains(&seconds)) {
        return Err(s3_error!(
            AccessDenied,
            "X-Amz-Expires must be between one second and seven days (604800 seconds)"
        ));
    }
    let is_presigned = parameter(query, "X-Amz-Signature").is_some();
    let is_ambiguous = ["X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Expires"]
        .iter()
        .any(|name| parameters(query, name).count() > 1);
    let headers = request.headers().get_all(http::header::AUTHORIZATION);
    if is_ambiguous || headers.iter().count() > 1 || (authorization.is_some() && is_presigned) {
        return Err(s3_error!(
            InvalidRequest,
            "Only one auth mechanism allowed; its parameters must be there once"
        ));
    }
    check_service(query, authorization)?;
    let signed = match authorization {
        Some(text) => signed_headers(text).ok_or_else(|| {
            s3_error!(
                InvalidRequest,
                "The authorization header is not one of AWS4-HMAC-SHA256"
            )
        })?,
        None => match parameter(query, "X-Amz-SignedHeaders") {
            Some(signed) => decoded(&signed),
            // Without a signature: access control refuses it.
            None => return Ok(()),
        },
    };
    // As `s3s` compares them: what it does not find by this name is not part of the signature.
    let is_signed = |name: &str| signed.split(';').any(|it| it == name);
    let mut names = request.headers().keys().map(http::HeaderName::as_str);
    let unsigned = names.find(|name| name.starts_with("x-amz-") && !is_signed(name));
    match unsigned {
        None if is_signed("host") => Ok(()),
        _ => Err(s3_error!(
            AccessDenied,
            "There were headers present in the request which were not signed"
        )),
    }
}

/// Refuses a request with a character that no key and no text of the database has, and a copy of what can
/// be no object.
fn check_texts<B>(request: &Request<B>) -> S3Result<()> {
    let query = request.uri().query().unwrap_or_default();
    let source = text(request, COPY_SOURCE).unwrap_or_default();
    if request.uri().path().contains("%00") {
        return Err(s3_error!(InvalidURI, "a key cannot contain U+0000"));
    }
    if query.contains("%00") || source.contains("%00") {
        let why = "parameters and x-amz-copy-source cannot contain U+0000";
        return Err(s3_error!(InvalidArgument, "{why}"));
    }
    if ![query, source].into_iter().all(is_utf8) {
        // It would be read as another text.
        let why = "parameters and x-amz-copy-source must be UTF-8";
        return Err(s3_error!(InvalidArgument, "{why}"));
    }
    let path = source.split("?versionId=").next().unwrap_or_default();
    let path = decoded(path);
    let path = path.strip_prefix('/').unwrap_or(&path);
    match path.split_once('/') {
        Some((_bucket, key)) => keys::check(key),
        None => Ok(()),
    }
}

/// Refuses a signature that is made for another service than S3.
fn check_service(query: &str, authorization: Option<&str>) -> S3Result<()> {
    let credential = match authorization {
        Some(text) => text.split_once("Credential=").map(|(_, rest)| {
            let end = rest.find(',').unwrap_or(rest.len());
            rest[..end].to_owned()
        }),
        None => parameter(query, "X-Amz-Credential").map(|it| decoded(&it)),
    };
    let service = credential.as_deref().and_then(service_of);
    match service.is_some_and(|service| service != "s3") {
        true => Err(s3_error!(AccessDenied, "The signature is not one for S3")),
        false => Ok(()),
    }
}

/// The service of `KEY/DATE/REGION/SERVICE/aws4_request`; what is malformed is refused elsewhere.
fn service_of(credential: &str) -> Option<&str> {
    let mut parts = credential.rsplit('/');
    let (_end, service) = (parts.next()?, parts.next()?);
    parts.nth(2).map(|_key| service)
}

/// The names of the headers that a request says are signed, separated by semicolons.
pub(super) fn signed<B>(request: &Request<B>) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    match text(request, http::header::AUTHORIZATION) {
        Some(authorization) => signed_headers(authorization),
        None => parameter(query, "X-Amz-SignedHeaders").map(|signed| decoded(&signed)),
    }
}

fn text<B>(request: &Request<B>, name: http::HeaderName) -> Option<&str> {
    request.headers().get(name).and_then(|it| it.to_str().ok())
}

/// Whether a request is an upload by a form, whose signature is in its body.
pub(super) fn is_form<B>(request: &Request<B>) -> bool {
    let kind = text(request, http::header::CONTENT_TYPE).unwrap_or_default();
    request.method() == http::Method::POST
        && kind.to_ascii_lowercase().contains("multipart/form-data")
}

/// Whether the body of a request may be a document, which is read as a whole before it is acted on: a list of
/// keys or of parts, or the declaration of a repository.
pub(super) fn may_be_document<B>(request: &Request<B>) -> bool {
    let is_below = request.uri().path().trim_matches('/').contains('/');
    match *request.method() {
        http::Method::POST => !is_form(request),
        http::Method::PUT => !is_below,
        _ => false,
    }
}

fn is_large_form<B>(request: &Request<B>) -> bool {
    let length = text(request, http::header::CONTENT_LENGTH);
    let length = length.and_then(|it| it.parse::<u64>().ok());
    is_form(request) && length.is_some_and(|length| length > FORM_LENGTH_MAX)
}

fn is_signature_v2(query: &str, authorization: Option<&str>) -> bool {
    authorization.is_some_and(|text| text.starts_with("AWS "))
        || parameter(query, "Signature").is_some()
        || parameter(query, "AWSAccessKeyId").is_some()
}

/// The value of a parameter as it stands in the query.
fn parameter(query: &str, name: &str) -> Option<String> {
    parameters(query, name).next().map(str::to_owned)
}

fn parameters<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = query.split('&');
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let found = pairs.filter(move |(key, _)| decoded(key).eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

fn signed_headers(authorization: &str) -> Option<String> {
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let (_, rest) = rest.split_once("SignedHeaders=")?;
    let (signed, rest) = rest.split_once(',')?;
    (!rest.contains("SignedHeaders=")).then(|| signed.to_owned())
}

fn is_utf8(encoded: &str) -> bool {
    let bytes = percent_encoding::percent_decode_str(encoded);
    bytes.decode_utf8().is_ok()
}

/// A text of a query without its percent-encoding.
pub(super) fn decoded(text: &str) -> String {
    let bytes = percent_encoding::percent_decode_str(text);
    bytes.decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refused = check(&request.body(()).unwrap()).err();
        refused.map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn every_header_of_amazon_and_the_host_must_be_signed() {
        let signed = |names: &str| {
            format!("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders={names}, Signature=c")
        };
        for (names, expected) in [
            ("host;x-amz-date;x-amz-meta-a", None),
            ("host;x-amz-date", Some("AccessDenied")),
            ("x-amz-date;x-amz-meta-a", Some("AccessDenied")),
        ] {
            let headers = [
                ("authorization", &*signed(names)),
                ("x-amz-date", "x"),
                ("x-amz-meta-a", "x"),
            ];
            assert_eq!(refused("/b/k", &headers).as_deref(), expected, "{names}");
        }
    }

    #[test]
    fn a_signature_for_another_service_is_refused() {
        let header = |service: &str| {
            let credential = format!("a/20261127/here/{service}/aws4_request");
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=c")
        };
        for (service, expected) in [("s3", None), ("ec2", Some("AccessDenied"))] {
            let code = refused("/b/k", &[("authorization", &*header(service))]);
            assert_eq!(code.as_deref(), expected, "{service}");
            let uri =
                format!("/b/k?X-Amz-Credential=a%2F20261127%2Fhere%2F{service}%2Faws4_request");
            let uri = format!("{uri}&X-Amz-SignedHeaders=host");
            assert_eq!(refused(&uri, &[]).as_deref(), expected, "{service}");
        }
    }

    #[test]
    fn a_signature_that_could_be_read_in_two_ways_is_refused() {
        let header = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c";
        let twice = format!("{header}, SignedHeaders=host;x-amz-meta-a");
        for (uri, text) in [
            ("/b/k?X-Amz-Signature=a", header),
            ("/b/k?X-Amz-Signature", header),
            ("/b/k", &*twice),
            ("/b/k", &*header.replace("AWS4", "aws4")),
            ("/b/k", "AWS4-HMAC-SHA256 Credential=a/b"),
        ] {
            let code = refused(uri, &[("authorization", text)]);
            assert_eq!(code.as_deref(), Some("InvalidRequest"), "{uri} {text}");
        }
        let uri = "/b/k?x-amz-signedheaders=host%3Bx-amz-meta-a&X-Amz-SignedHeaders=host";
        let code = refused(uri, &[("x-amz-meta-a", "x")]);
        assert_eq!(code.as_deref(), Some("InvalidRequest"));
    }

    #[test]
    fn a_presigned_url_is_valid_for_seven_days_at_most() {
        let url = |seconds: &str| format!("/b/k?X-Amz-SignedHeaders=host&X-Amz-Expires={seconds}");
        assert_eq!(refused(&url("604800"), &[]), None);
        for seconds in ["604801", "864000", "x", "-1", "0", ""] {
            let code = refused(&url(seconds), &[]);
            assert_eq!(code.as_deref(), Some("AccessDenied"), "{seconds}");
        }
    }

    #[test]
    fn a_form_is_refused_by_its_length_before_it_is_held_in_memory() {
        let refused = |length: u64| {
            let request = Request::post("/b").header("content-length", length);
            let form = "multipart/form-data; boundary=x";
            let request = request.header("content-type", form).body(()).unwrap();
            check(&request).err().map(|error| error.code().clone())
        };
        assert_eq!(refused(FORM_BYTES_MAX), None);
        for length in [FORM_LENGTH_MAX + 1, 5 << 30] {
            assert_eq!(refused(length), Some(s3s::S3ErrorCode::EntityTooLarge));
        }
    }

    #[test]
    fn version_2_of_signatures_and_null_characters_are_refused() {
        let code = refused("/b/k", &[("authorization", "AWS key:signature")]);
        assert_eq!(code.as_deref(), Some("InvalidRequest"));
        let code = refused("/b/k?AWSAccessKeyId=a&Signature=b&Expires=1", &[]);
        assert_eq!(code.as_deref(), Some("InvalidRequest"));
        assert_eq!(refused("/b/a%00b", &[]).as_deref(), Some("InvalidURI"));
        assert_eq!(refused("/b/k", &[]), None);
        for name in ["prefix", "start-after", "key-marker", "uploadId"] {
            let code = refused(&format!("/b?{name}=a%00"), &[]);
            assert_eq!(code.as_deref(), Some("InvalidArgument"), "{name}");
            assert_eq!(refused(&format!("/b?{name}=a%2500"), &[]), None, "{name}");
            let code = refused(&format!("/b?{name}=%FF"), &[]);
            assert_eq!(code.as_deref(), Some("InvalidArgument"), "{name}");
            assert_eq!(refused(&format!("/b?{name}=%C3%A9"), &[]), None, "{name}");
        }
    }

    #[test]
    fn a_copy_of_what_can_be_no_object_is_refused() {
        let longest = "x".repeat(1_024);
        for (source, expected) in [
            ("/b/k".to_owned(), None),
            ("b/k%2Fl?versionId=null".to_owned(), None),
            (format!("/b/{longest}"), None),
            (format!("/b/{longest}x"), Some("KeyTooLongError")),
            ("/b/a%00".to_owned(), Some("InvalidArgument")),
            ("/b/a%FF".to_owned(), Some("InvalidArgument")),
            ("/b/".to_owned(), Some("InvalidArgument")),
        ] {
            let headers = [("x-amz-copy-source", &*source)];
            assert_eq!(refused("/b/k", &headers).as_deref(), expected, "{source}");
        }
    }
}
