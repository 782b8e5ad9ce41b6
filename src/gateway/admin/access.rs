//! Access control of the admin listener: checks that run before everything else.
//!
//! An operator's browser reaches this listener, so any website can send requests to it. A website's name
//! that resolves to this listener (DNS rebinding) is refused by its `Host`, a request from another site
//! by the headers that the browser adds. Writes need `ADMIN_TOKEN` if it is set; without it, they are
//! allowed on a loopback address only. There is no CORS: no other origin is ever allowed to read
//! anything.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HeaderName, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::described::described;
use crate::auth::{AuthError, authorization, bearer};
use crate::http::{HostError, Problem, ProblemKind, UnknownCoding, host, is_chunked, without_port};

/// Paths that load balancers and Prometheus request, under whatever name they know this process.
const FOR_ANY_HOST: [&str; 3] = ["/metrics", "/livez", "/readyz"];

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The settings that decide whether a request is allowed.
#[derive(Debug)]
pub struct Access {
    /// `ADMIN_TOKEN`.
    pub token: Option<SecretString>,
    /// Whether the listener is on a loopback address.
    pub is_loopback: bool,
    /// Names that the listener answers for, besides `localhost` and addresses.
    pub hosts: Vec<String>,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
enum AccessError {
    /// It does not say which host it is for.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Its body cannot be read.
    #[error(transparent)]
    Coding(#[from] UnknownCoding),
    /// It is for a name that the listener does not answer for.
    #[error(
        "this listener does not answer for this host; [admin] hosts lists the names that it answers for"
    )]
    OtherHost,
    /// A write that a website sent.
    #[error("writes from another origin are not possible")]
    OtherOrigin,
    /// A write that could come from anywhere.
    #[error("ADMIN_TOKEN is not set: without it, writes are possible on a loopback address only")]
    NoToken,
    /// A write without the token.
    #[error(transparent)]
    Token(#[from] AuthError),
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Host(error) => error.into(),
            AccessError::Coding(error) => error.into(),
            AccessError::OtherHost => Self::of(ProblemKind::Misdirected, error),
            AccessError::OtherOrigin | AccessError::NoToken => {
                Self::of(ProblemKind::Forbidden, error)
            }
            AccessError::Token(error) => error.into(),
        }
    }
}

/// Passes a request on or answers it with a problem, and sets the security headers of every answer.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let is_metrics = request.uri().path() == "/metrics";
    let mut response = match access.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => described(error, request.headers()),
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !is_metrics {
        let same_origin = HeaderValue::from_static("same-origin");
        headers.insert(&RESOURCE_POLICY, same_origin);
    }
    response
}

impl Access {
    fn check<B>(&self, request: &http::Request<B>) -> Result<(), AccessError> {
        let host = host(request)?;
        is_chunked(request.headers())?;
        if FOR_ANY_HOST.contains(&request.uri().path()) {
            return Ok(());
        }
        let host = host.filter(|host| self.answers_for(without_port(host)));
        let host = host.ok_or(AccessError::OtherHost)?;
        if request.method().is_safe() {
            return Ok(());
        }
        if !is_same_origin(request.headers(), host) {
            return Err(AccessError::OtherOrigin);
        }
        match &self.token {
            Some(token) => Ok(check_token(request.headers(), token)?),
            None if self.is_loopback => Ok(()),
            None => Err(AccessError::NoToken),
        }
    }

    fn answers_for(&self, name: &str) -> bool {
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|it| it.eq_ignore_ascii_case(name))
    }
}

/// Whether a request comes from a page of this listener, or from no website at all.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    let is_own = |origin: &HeaderValue| {
        let origin = origin.to_str().ok();
        let origin = origin.and_then(|origin| origin.strip_prefix("http://"));
        origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
    };
    let is_from_here = |site: &HeaderValue| site == "same-origin" || site == "none";
    headers.get_all(ORIGIN).iter().all(is_own)
        && headers.get_all(&SEC_FETCH_SITE).iter().all(is_from_here)
}

/// Takes the same time whichever byte of the token is wrong.
fn check_token(headers: &HeaderMap, token: &SecretString) -> Result<(), AuthError> {
    let given = bearer(authorization(headers)?)?.as_bytes();
    match given.ct_eq(token.expose_secret().as_bytes()).into() {
        true => Ok(()),
        false => Err(AuthError::OtherToken),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http::header::HOST;

    use super::*;

    fn access(token: Option<&str>, is_loopback: bool) -> Access {
        Access {
            token: token.map(Into::into),
            is_loopback,
            hosts: vec!["gateway.internal".to_owned()],
        }
    }

    /// The status and type that a request is refused with.
    fn refused(
        access: &Access,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<(u16, &'static str)> {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let error = access.check(&request.body(()).unwrap()).err()?;
        let problem = Problem::from(error);
        Some((problem.status().as_u16(), problem.kind().name()))
    }

    #[test]
    fn only_own_names_and_addresses_are_answered_for_and_probes_for_any() {
        let access = access(None, true);
        let asked = |path, host| refused(&access, Method::GET, path, &[("host", host)]);
        for host in [
            "127.0.0.1:9090",
            "10.0.0.5",
            "[::1]:1",
            "LocalHost:9090",
            "gateway.internal",
            "Gateway.Internal:80",
        ] {
            assert_eq!(asked("/admin/topology", host), None, "{host}");
        }
        for host in [
            "rebound.example:9090",
            "127.0.0.1.nip.io",
            "localhost.evil.example",
            "gateway.internal.evil",
            "127.1",
            "",
        ] {
            for path in ["/", "/admin/topology", "/admin/cache/purge"] {
                let misdirected = Some((421, "misdirected"));
                assert_eq!(asked(path, host), misdirected, "{path} {host}");
            }
            for path in ["/metrics", "/livez", "/readyz"] {
                assert_eq!(asked(path, host), None, "{path} {host}");
            }
        }
        let invalid = Some((400, "invalid-parameter"));
        assert_eq!(asked("/livez", "u@localhost"), invalid);
        assert_eq!(refused(&access, Method::GET, "/metrics", &[]), invalid);
    }

    #[test]
    fn a_write_comes_from_no_website_but_the_listeners_own() {
        let access = access(Some("token"), true);
        let asked = |headers: &[(&'static str, &'static str)]| {
            let own = [
                (HOST.as_str(), "127.0.0.1:9090"),
                ("authorization", "Bearer token"),
            ];
            let headers = [&own[..], headers].concat();
            refused(&access, Method::POST, "/admin/cache/purge", &headers)
        };
        let same = [
            &[][..],
            &[("origin", "http://127.0.0.1:9090")],
            &[("sec-fetch-site", "none")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://127.0.0.1:9090"),
            ],
        ];
        for headers in same {
            assert_eq!(asked(headers), None, "{headers:?}");
        }
        let other = [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "https://127.0.0.1:9090")],
            &[("origin", "http://127.0.0.1")],
            &[("origin", "http://127.0.0.1:8080")],
            &[("origin", "http://localhost:9090")],
            &[
                ("origin", "http://127.0.0.1:9090"),
                ("origin", "http://evil.example"),
            ],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://127.0.0.1:9090"),
            ],
        ];
        for headers in other {
            assert_eq!(asked(headers), Some((403, "forbidden")), "{headers:?}");
        }
    }

    #[test]
    fn a_write_has_one_authorization_field() {
        let access = access(Some("token"), true);
        let token = ("authorization", "Bearer token");
        for other in ["Bearer token", "Bearer other", ""] {
            let headers = [("host", "10.0.0.5:9090"), token, ("authorization", other)];
            let refusal = refused(&access, Method::POST, "/admin/cache/purge", &headers);
            assert_eq!(refusal, Some((401, "unauthorized")), "{other:?}");
        }
    }

    #[test]
    fn a_write_needs_the_token_or_else_a_loopback_address_and_a_read_neither() {
        let cases = [
            (Some("token"), true, "", Some(401)),
            (Some("token"), false, "", Some(401)),
            (Some("token"), true, "Bearer other", Some(401)),
            (Some("token"), true, "Bearer toke", Some(401)),
            (Some("token"), true, "Basic token", Some(401)),
            (Some("token"), true, "Bearer token", None),
            (Some("token"), false, "bearer token", None),
            (None, true, "", None),
            (None, false, "", Some(403)),
            (None, false, "Bearer token", Some(403)),
        ];
        for (token, is_loopback, given, status) in cases {
            let access = access(token, is_loopback);
            let headers = [("host", "10.0.0.5:9090"), ("authorization", given)];
            let path = "/admin/nodes/primary/drain";
            let refusal = refused(&access, Method::POST, path, &headers);
            let case = (token, is_loopback, given);
            assert_eq!(refusal.map(|(status, _)| status), status, "{case:?}");
            for method in [Method::GET, Method::HEAD] {
                let read = refused(&access, method, "/admin/topology", &headers);
                assert_eq!(read, None, "{case:?}");
            }
        }
    }
}
