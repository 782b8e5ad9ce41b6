//! The fields of a form that stand before its file. `s3s` shows only those that it knows, and what the others
//! ask for would be passed over.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use http::{Extensions, Method, Request, Response, StatusCode, header};
use http_body_util::StreamBody;
use s3s::{Body, S3Result, s3_error};

use super::fields::Fields;
use super::filename::filled_in;
use super::guard::FORM_FIELDS_BYTES_MAX;

/// The beginning of a form, as far as it has been read.
#[derive(Clone)]
pub(super) struct Form(Arc<Beginning>);

struct Beginning {
    boundary: String,
    bytes: Mutex<Vec<u8>>,
}

impl Form {
    /// Has the beginning of a form remembered while it is read.
    pub(super) fn body(request: Request<Body>) -> Request<Body> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok());
        let beginning = Beginning {
            boundary: kind.map(boundary_of).unwrap_or_default(),
            bytes: Mutex::default(),
        };
        let form = Self(Arc::new(beginning));
        let (mut head, body) = request.into_parts();
        head.extensions.insert(form.clone());
        let frames = filled_in(body, form.0.boundary.clone()).inspect(move |frame| {
            if let Ok(frame) = frame
                && let Some(bytes) = frame.data_ref()
            {
                form.remember(bytes);
            }
        });
        let body = Body::http_body_unsync(StreamBody::new(frames));
        Request::from_parts(head, body)
    }

    /// The fields of the form that a request is, with their names in lower case; none if it is no form.
    pub(super) fn fields(
        method: &Method,
        extensions: &Extensions,
    ) -> S3Result<Option<Vec<(String, String)>>> {
        let form = match extensions.get::<Self>() {
            None if *method != Method::POST => return Ok(None),
            form => form,
        };
        let fields = form.and_then(|form| {
            let bytes = form.0.bytes.lock().unwrap_or_else(PoisonError::into_inner);
            let text = String::from_utf8_lossy(&bytes);
            fields_of(&text, &form.0.boundary)
        });
        match fields {
            Some(fields) => Ok(Some(fields)),
            None => Err(s3_error!(
                MalformedPOSTRequest,
                "the fields of a form must stand before its file, and can have 1 MiB together"
            )),
        }
    }

    fn remember(&self, bytes: &[u8]) {
        let mut known = self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let most = usize::try_from(FORM_FIELDS_BYTES_MAX).unwrap_or(usize::MAX);
        let taken = bytes.len().min(most.saturating_sub(known.len()));
        known.extend_from_slice(&bytes[..taken]);
    }
}

/// Answers a form as S3 does: a policy whose condition does not hold is not malformed, and an `ETag` has quotes.
pub(super) fn mend(response: &mut Response<Body>) {
    let body = response.body().bytes();
    let text = body.and_then(|body| String::from_utf8(body.to_vec()).ok());
    let text = text.unwrap_or_default();
    let mended = match response.status() {
        StatusCode::BAD_REQUEST => unmet(&text).map(|text| (StatusCode::FORBIDDEN, text)),
        StatusCode::CREATED => quoted(&text).map(|text| (StatusCode::CREATED, text)),
        _ => None,
    };
    if let Some((status, text)) = mended {
        *response.status_mut() = status;
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(text);
    }
}

/// The error of a condition that does not hold, in S3's words. What the client has sent is escaped in it.
fn unmet(xml: &str) -> Option<String> {
    const CODE: &str = "<Code>InvalidPolicyDocument</Code>";
    let mut beginnings = [
        "<Message>Policy condition ",
        "<Message>Bucket in form field ",
    ]
    .iter();
    let is_unmet = xml.contains(CODE) && beginnings.any(|it| xml.contains(it));
    is_unmet.then(|| {
        xml.replacen(CODE, "<Code>AccessDenied</Code>", 1).replacen(
            "<Message>",
            "<Message>Invalid according to Policy: ",
            1,
        )
    })
}

fn quoted(xml: &str) -> Option<String> {
    let (before, rest) = xml.split_once("<ETag>")?;
    let (etag, after) = rest.split_once("</ETag>")?;
    let is_quoted = etag.starts_with("&quot;") || etag.starts_with('"');
    (!is_quoted).then(|| format!("{before}<ETag>&quot;{etag}&quot;</ETag>{after}"))
}

/// What separates the parts of a form.
fn boundary_of(kind: &str) -> String {
    let mut parameters = kind.split(';').skip(1).filter_map(|it| it.split_once('='));
    let found = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let boundary = found.map(|(_, value)| value.trim().trim_matches('"'));
    boundary.unwrap_or_default().to_owned()
}

/// The names, in lower case, and values of the fields before the file.
fn fields_of(text: &str, boundary: &str) -> Option<Vec<(String, String)>> {
    let values = Fields::of(text, boundary)?.values.into_iter();
    let fields = values.map(|(name, value)| (name.to_ascii_lowercase(), text[value].to_owned()));
    Some(fields.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &str)]) -> String {
        let parts = fields.iter().map(|(name, value)| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        });
        parts.collect()
    }

    #[test]
    fn fields_are_those_before_the_file() {
        let text = form(&[
            ("Tagging", "<a>\r\n--c\r\n</a>"),
            ("empty", ""),
            ("file\"; filename=\"a", "x"),
            ("after", "y"),
        ]);
        let fields = fields_of(&text, "b").unwrap();
        let expected = [("tagging", "<a>\r\n--c\r\n</a>"), ("empty", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields, expected);
        for malformed in [
            form(&[("key", "a")]),
            text.replace("\r\n\r\n", "\n\n"),
            text.replace("--b", "--c"),
        ] {
            assert_eq!(fields_of(&malformed, "b"), None, "{malformed}");
        }
    }

    #[test]
    fn the_boundary_is_read_with_and_without_quotes() {
        for kind in [
            "multipart/form-data; boundary=limit",
            "Multipart/Form-Data;charset=utf-8; Boundary=\"limit\"",
        ] {
            assert_eq!(boundary_of(kind), "limit");
        }
    }

    #[test]
    fn an_unmet_condition_is_access_denied_and_a_malformed_policy_is_not() {
        let error = |code: &str, message: &str| {
            format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>")
        };
        let answer = |status: StatusCode, text: String| {
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = status;
            mend(&mut response);
            let bytes = response.body().bytes().unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            (response.status().as_u16(), text)
        };
        let policy = "InvalidPolicyDocument";
        let unmet = "Policy condition &apos;eq&apos; for field &apos;key&apos; failed";
        let expected = error(
            "AccessDenied",
            &format!("Invalid according to Policy: {unmet}"),
        );
        let bad = StatusCode::BAD_REQUEST;
        assert_eq!(answer(bad, error(policy, unmet)), (403, expected));
        for malformed in [
            error(policy, "failed to parse POST policy"),
            error("InvalidArgument", unmet),
        ] {
            assert_eq!(answer(bad, malformed.clone()), (400, malformed));
        }
        let post = "<PostResponse><Key>a</Key><ETag>0f</ETag></PostResponse>".to_owned();
        let quoted = post.replace("0f", "&quot;0f&quot;");
        for text in [post, quoted.clone()] {
            assert_eq!(answer(StatusCode::CREATED, text), (201, quoted.clone()));
        }
    }
}
