//! Bodies: JSON of a known shape, and nothing else in it.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use crate::http::{Problem, ProblemKind, ServerSettings, read_json};
use crate::storage::{ByName, CREDENTIALS_BYTES_MAX};

/// The largest body: credentials, and rules of a repository.
const BODY_BYTES_MAX: usize = 2 * CREDENTIALS_BYTES_MAX;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of an explanation.
const WHY_MAX: usize = 300;
/// Fields whose values are not shown again.
const SECRET: [&str; 2] = ["secretAccessKey", "serviceAccount"];

/// The body of a request.
pub(super) struct Input<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(&bytes_of(request).await?).map(Self)
    }
}

/// No body, or an object without fields.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFields {}

impl<S: Sync> FromRequest<S> for NoFields {
    type Rejection = Problem;

    async fn from_request(mut request: Request, _: &S) -> Result<Self, Problem> {
        // Some clients state a media type where there is nothing of it, others none.
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let body = bytes_of(request).await?;
        match body.is_empty() {
            true => Ok(Self {}),
            false => read(&body),
        }
    }
}

async fn bytes_of(request: Request) -> Result<Bytes, Problem> {
    let (head, body) = request.into_parts();
    let limits = ServerSettings {
        body_bytes_max: BODY_BYTES_MAX,
        body_timeout: BODY_TIMEOUT,
        ..ServerSettings::default()
    };
    Ok(read_json(&head.headers, body, &limits).await?)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json);
    let ByName(value) = read.map_err(|error| {
        let path = error.path().to_string();
        let why = match SECRET.iter().any(|secret| path.starts_with(secret)) {
            true => "it cannot be read".to_owned(),
            false => error.inner().to_string().chars().take(WHY_MAX).collect(),
        };
        refused(match &*path {
            "." => why,
            field => format!("{field}: {why}"),
        })
    })?;
    json.end().map_err(|error| refused(error.to_string()))?;
    Ok(value)
}

fn refused(why: String) -> Problem {
    Problem::new(ProblemKind::InvalidBody, why)
}

/// Tells a field that is `null` from one that is absent.
pub(super) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Shape {
        #[expect(dead_code, reason = "only read")]
        soft_cap: Option<f64>,
        #[expect(dead_code, reason = "only read")]
        secret_access_key: Option<String>,
        #[serde(default, deserialize_with = "present")]
        quota: Option<Option<u64>>,
    }

    fn refusal(body: &str) -> String {
        read::<Shape>(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_refusal_names_the_field_and_shows_no_secret() {
        assert!(refusal(r#"{"softCap": "x"}"#).starts_with("softCap: "));
        assert!(refusal(r#"{"soft_cap": 1}"#).contains("`soft_cap`"));
        assert!(refusal(r#"{"softCap": 1, "softCap": 1}"#).contains("`softCap`"));
        assert!(refusal(r#"[0.5, "hidden", 1]"#).contains("expected an object"));
        let secret = refusal(r#"{"secretAccessKey": ["hidden"]}"#);
        assert_eq!(secret, "secretAccessKey: it cannot be read");
        for body in ["", "[]", "{", "{}{}", "\"a\"", &"[".repeat(100_000)] {
            assert!(refusal(body).len() < 400);
        }
    }

    #[tokio::test]
    async fn where_there_are_no_fields_a_body_has_none() {
        let read = async |media_type: &'static str, body: &'static str| {
            let request = Request::builder().header(CONTENT_TYPE, media_type);
            let request = request.body(axum::body::Body::from(body)).unwrap();
            NoFields::from_request(request, &()).await.map(drop)
        };
        let form = "application/x-www-form-urlencoded";
        for (media_type, body) in [
            ("application/json", "{}"),
            ("application/json", ""),
            (form, ""),
        ] {
            assert!(read(media_type, body).await.is_ok(), "{body}");
        }
        for body in [r#"{"x": 1}"#, "[]", "null", "x=1"] {
            assert!(read(form, body).await.is_err(), "{body}");
        }
    }

    #[test]
    fn null_is_told_from_absent() {
        let quota = |body: &str| read::<Shape>(body.as_bytes()).unwrap().quota;
        assert_eq!(quota("{}"), None);
        assert_eq!(quota(r#"{"quota": null}"#), Some(None));
        assert_eq!(quota(r#"{"quota": 1}"#), Some(Some(1)));
    }
}
