//! Which pages of other origins may read answers: the fields of the CORS protocol (Fetch standard,
//! section "CORS protocol").
//!
//! Everything is sent whole and nothing of a request is echoed, so that an answer depends on its `Origin`
//! in one way only: whether the list has it. Deliberately absent: what a preflight asks for, which the
//! browser compares itself.

use std::fmt;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::web_origin::check_origin;
use tidegate_model::{ConfigError, Place};

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const HEADERS: [&str; 6] = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "X-Consistency",
    "X-Consistency-Token",
];
const EXPOSED: [&str; 6] = [
    "X-Consistency-Token",
    "Consistency-Status",
    "X-Route-Primary",
    "X-Request-Id",
    "Retry-After",
    "ETag",
];

/// How long browsers keep the answer to a preflight where the row does not say; they have limits of their
/// own, of two hours or a day.
pub const CORS_MAX_AGE_DEFAULT: Duration = Duration::from_secs(3_600);

/// All origins, methods or headers.
const ANY: &str = "*";

/// Says what would be right in place of a text.
type Check = fn(&str) -> Result<(), String>;

/// `cors` of a policy row, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsRow {
    /// `scheme://host[:port]`, `null`, or `*` alone.
    pub origins: Vec<String>,
    /// The methods of preflights; absent means the usual ones.
    pub methods: Option<Vec<String>>,
    /// The request headers of preflights; absent means those that the gateway reads.
    pub headers: Option<Vec<String>>,
    /// Response headers that pages may read beside the gateway's own.
    pub expose: Vec<String>,
    /// Whether browsers send cookies and pages may read the answers.
    pub credentials: bool,
    /// How long browsers may keep the answer to a preflight.
    pub max_age: Duration,
}

/// Which pages of other origins may read the answers of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Empty: all.
    origins: Vec<HeaderValue>,
    credentials: bool,
    exposed: HeaderValue,
    methods: HeaderValue,
    headers: HeaderValue,
    max_age: HeaderValue,
}

impl Cors {
    /// Compiles `cors` of a row.
    ///
    /// # Errors
    ///
    /// Names the key and the value that cannot be used, and says what would be right.
    pub(super) fn compile(row: &CorsRow, place: &Place) -> Result<Self, ConfigError> {
        let methods = lines(row.methods.as_deref(), &METHODS);
        let headers = lines(row.headers.as_deref(), &HEADERS);
        let exposed: Vec<&str> = EXPOSED
            .into_iter()
            .chain(row.expose.iter().map(String::as_str))
            .collect();
        let refuse = |key, value: &str, why: &dyn fmt::Display| {
            Err(ConfigError::of_key(place, key, value, why))
        };
        if row.origins.is_empty() {
            return refuse(
                "cors.origins",
                "",
                &"at least one origin, or `*`, is needed",
            );
        }
        if row.origins.len() > 1 && row.origins.iter().any(|it| it == ANY) {
            return refuse(
                "cors.origins",
                ANY,
                &"it stands for all origins, and so alone",
            );
        }
        let origins: Vec<&str> = row.origins.iter().map(String::as_str).collect();
        let lists: [(_, _, Check); 4] = [
            ("cors.origins", &origins, check_origin),
            ("cors.methods", &methods, check_method),
            ("cors.headers", &headers, check_header),
            ("cors.expose", &exposed, check_header),
        ];
        for (key, list, check) in lists {
            for text in list {
                let checked = match *text {
                    ANY if row.credentials => {
                        Err("browsers take no `*` with credentials: list what is meant".to_owned())
                    }
                    ANY => Ok(()),
                    text => check(text),
                };
                if let Err(why) = checked {
                    return refuse(key, text, &why);
                }
            }
        }
        let value = |key, text: &str| match HeaderValue::from_str(text) {
            Ok(value) => Ok(value),
            Err(_unsendable) => {
                let why = "expected visible ASCII characters";
                Err(ConfigError::of_key(place, key, text, why))
            }
        };
        let listed = origins.iter().filter(|it| **it != ANY);
        let listed = listed.map(|origin| value("cors.origins", origin));
        Ok(Self {
            origins: listed.collect::<Result<_, _>>()?,
            credentials: row.credentials,
            exposed: value("cors.expose", &exposed.join(", "))?,
            methods: value("cors.methods", &methods.join(", "))?,
            headers: value("cors.headers", &headers.join(", "))?,
            max_age: row.max_age.as_secs().into(),
        })
    }

    /// Returns whether answers depend on the request's origin.
    pub fn varies(&self) -> bool {
        !self.origins.is_empty()
    }

    /// Puts the fields of an answer to a request with these headers in place of any that an application has
    /// set.
    pub fn put_on(&self, answer: &mut HeaderMap, request: &RequestOrigin) {
        let of_protocol = |name: &&HeaderName| name.as_str().starts_with("access-control-");
        let others: Vec<HeaderName> = answer.keys().filter(of_protocol).cloned().collect();
        for name in others {
            answer.remove(name);
        }
        if self.varies() && !varies_by_origin(answer) {
            answer.append(VARY, HeaderValue::from_static("Origin"));
        }
        let allowed = match &request.origin {
            _ if !self.varies() => HeaderValue::from_static(ANY),
            Some(origin) if self.origins.contains(origin) => origin.clone(),
            _ => return,
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            let allowed = HeaderValue::from_static("true");
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, allowed);
        }
        if request.is_preflight {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
            answer.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        } else {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.clone());
        }
    }
}

impl fmt::Display for Cors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins: Vec<_> = self
            .origins
            .iter()
            .filter_map(|it| it.to_str().ok())
            .collect();
        match origins.is_empty() {
            true => f.write_str(ANY)?,
            false => f.write_str(&origins.join(", "))?,
        }
        match self.credentials {
            true => f.write_str(" with credentials"),
            false => Ok(()),
        }
    }
}

/// What a request says about the page that has sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestOrigin {
    /// Its `Origin`, if it has one line of it.
    origin: Option<HeaderValue>,
    /// Whether the browser asks if it may send another request.
    pub is_preflight: bool,
}

impl RequestOrigin {
    /// Reads a request.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let mut origins = headers.get_all(ORIGIN).iter();
        let asks = headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        Self {
            is_preflight: *method == Method::OPTIONS && asks && headers.contains_key(ORIGIN),
            origin: match (origins.next(), origins.next()) {
                (Some(origin), None) => Some(origin.clone()),
                _ => None,
            },
        }
    }
}

fn lines<'a>(given: Option<&'a [String]>, usual: &[&'static str]) -> Vec<&'a str> {
    match given {
        Some(given) => given.iter().map(String::as_str).collect(),
        None => usual.to_vec(),
    }
}

fn check_method(text: &str) -> Result<(), String> {
    let sent = text.to_ascii_uppercase();
    match text.parse::<Method>() {
        Err(_invalid) => Err("expected a method such as PUT".to_owned()),
        Ok(_) if text != sent => Err(format!("browsers send it as `{sent}`")),
        Ok(_) => Ok(()),
    }
}

fn check_header(text: &str) -> Result<(), String> {
    let parsed = text.parse::<HeaderName>().map(drop);
    parsed.map_err(|_invalid| "expected the name of a header".to_owned())
}

fn varies_by_origin(answer: &HeaderMap) -> bool {
    let lines = answer.get_all(VARY).iter();
    let names = lines.filter_map(|line| line.to_str().ok());
    let mut names = names.flat_map(|line| line.split(',')).map(str::trim);
    names.any(|name| name == ANY || name.eq_ignore_ascii_case("origin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(origins: &[&str]) -> CorsRow {
        CorsRow {
            origins: origins.iter().map(ToString::to_string).collect(),
            methods: None,
            headers: None,
            expose: Vec::new(),
            credentials: false,
            max_age: CORS_MAX_AGE_DEFAULT,
        }
    }

    fn compiled(row: &CorsRow) -> Cors {
        Cors::compile(row, &Place::Name("test")).unwrap()
    }

    fn refused(row: &CorsRow) -> String {
        let refused = Cors::compile(row, &Place::Name("test"));
        refused.unwrap_err().to_string()
    }

    fn request(method: &Method, fields: &[(&'static str, &str)]) -> RequestOrigin {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        RequestOrigin::of(method, &headers)
    }

    fn answer(cors: &Cors, request: &RequestOrigin, before: &[(&'static str, &str)]) -> HeaderMap {
        let mut answer = HeaderMap::new();
        for (name, value) in before {
            answer.append(*name, value.parse().unwrap());
        }
        cors.put_on(&mut answer, request);
        answer
    }

    const APP: &str = "https://app.example.com";

    #[test]
    fn only_a_listed_origin_gets_the_fields_and_every_answer_varies() {
        let cors = compiled(&row(&[APP, "null"]));
        for (origins, allowed) in [
            (&[APP][..], Some(APP)),
            (&["null"], Some("null")),
            (&["https://APP.example.com"], None),
            (&["https://app.example.com.evil.example"], None),
            (&[APP, APP], None),
            (&[], None),
        ] {
            let fields: Vec<_> = origins.iter().map(|it| ("origin", *it)).collect();
            let answer = answer(&cors, &request(&Method::GET, &fields), &[]);
            let told = answer.get("access-control-allow-origin");
            assert_eq!(told.map(|it| it.to_str().unwrap()), allowed, "{origins:?}");
            assert_eq!(answer["vary"], "Origin");
            assert_eq!(
                answer.contains_key("access-control-expose-headers"),
                allowed.is_some()
            );
        }
    }

    #[test]
    fn any_origin_is_answered_with_a_star_and_nothing_varies() {
        let answer = answer(&compiled(&row(&["*"])), &request(&Method::GET, &[]), &[]);
        assert_eq!(answer["access-control-allow-origin"], "*");
        assert!(!answer.contains_key("vary"));
    }

    #[test]
    fn a_preflight_gets_the_whole_lists() {
        let methods = Some(vec!["GET".to_owned(), "PURGE".to_owned()]);
        let cors = compiled(&CorsRow {
            methods,
            credentials: true,
            ..row(&[APP])
        });
        let asked = [("origin", APP), ("access-control-request-method", "DELETE")];
        let asked = request(&Method::OPTIONS, &asked);
        assert!(asked.is_preflight);
        let answer = answer(&cors, &asked, &[]);
        assert_eq!(answer["access-control-allow-methods"], "GET, PURGE");
        assert_eq!(answer["access-control-allow-headers"], HEADERS.join(", "));
        assert_eq!(answer["access-control-allow-credentials"], "true");
        assert_eq!(answer["access-control-max-age"], "3600");
        assert!(!answer.contains_key("access-control-expose-headers"));
    }

    #[test]
    fn other_options_are_no_preflights() {
        let method = ("access-control-request-method", "PUT");
        assert!(!request(&Method::OPTIONS, &[("origin", APP)]).is_preflight);
        assert!(!request(&Method::OPTIONS, &[method]).is_preflight);
        assert!(!request(&Method::GET, &[("origin", APP), method]).is_preflight);
    }

    #[test]
    fn the_fields_of_an_application_give_way_and_its_vary_stays() {
        let before = [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-private-network", "true"),
            ("vary", "Accept, Origin"),
        ];
        let foreign = request(&Method::GET, &[("origin", "https://evil.example")]);
        let answer = answer(&compiled(&row(&[APP])), &foreign, &before);
        assert_eq!(answer.len(), 1);
        assert_eq!(answer["vary"], "Accept, Origin");
    }

    #[test]
    fn what_no_browser_sends_is_refused_and_what_would_be_right_is_said() {
        for (expected, origins) in [
            (
                "expected `scheme://host[:port]`",
                &[
                    "https://app.example.com/",
                    "https://app.example.com/path",
                    "https://user@app.example.com",
                    "app.example.com",
                    "",
                    "https://",
                    "https://a b",
                    "https://a.example?x",
                    "https://a!b.example",
                    "https://a%2eexample",
                    "https://a.example:99999",
                    "https://a.example:",
                ][..],
            ),
            (
                "it has a `*`",
                &["https://*.example", "https://a.example:*"][..],
            ),
            (
                "expected an address as browsers write it",
                &[
                    "https://127.1",
                    "http://0x7f.1",
                    "https://1.2.3.256",
                    "https://1.2.3.4.",
                    "https://a.0X7f",
                    "https://[1.2.3.4]",
                ][..],
            ),
            (
                "browsers send it as `https://[::1]`",
                &["https://[0:0::1]"][..],
            ),
            (
                "browsers send it as `https://[::ffff:102:304]`",
                &["https://[::FFFF:1.2.3.4]:443"][..],
            ),
            (
                "browsers send it as `https://a.example`",
                &["https://a.example:0443"][..],
            ),
            (
                "browsers send it as `https://app.example.com`",
                &["https://App.example.com", "https://app.example.com:443"][..],
            ),
        ] {
            for origin in origins {
                let refused = refused(&row(&[origin]));
                assert!(refused.contains(expected), "{origin}: {refused}");
            }
        }
    }

    #[test]
    fn what_browsers_send_is_an_origin() {
        for origin in [
            APP,
            "http://localhost:3000",
            "http://[::1]:8080",
            "http://[::1]",
            "http://127.0.0.1:3000",
            "https://[::ffff:102:304]",
            "https://1.example",
            "https://a.0xg",
            "https://_a-b.example:8443",
            "app://x",
            "null",
        ] {
            compiled(&row(&[origin]));
        }
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(refused(&row(&[])).contains("at least one origin"));
        assert!(refused(&row(&["*", APP])).contains("stands for all origins"));
        let star = || Some(vec!["*".to_owned()]);
        for (key, row) in [
            ("cors.origins", row(&["*"])),
            (
                "cors.methods",
                CorsRow {
                    methods: star(),
                    ..row(&[APP])
                },
            ),
            (
                "cors.headers",
                CorsRow {
                    headers: star(),
                    ..row(&[APP])
                },
            ),
            (
                "cors.expose",
                CorsRow {
                    expose: star().unwrap(),
                    ..row(&[APP])
                },
            ),
        ] {
            compiled(&row);
            let refused = refused(&CorsRow {
                credentials: true,
                ..row
            });
            assert!(
                refused.contains(key) && refused.contains("no `*` with credentials"),
                "{refused}"
            );
        }
        for (method, expected) in [
            ("put", "browsers send it as `PUT`"),
            ("Patch", "browsers send it as `PATCH`"),
            ("P T", "expected a method such as PUT"),
        ] {
            let refused = refused(&CorsRow {
                methods: Some(vec!["GET".to_owned(), method.to_owned()]),
                ..row(&[APP])
            });
            assert!(refused.contains(expected), "{refused}");
        }
        let row = CorsRow {
            headers: Some(vec!["a b".to_owned()]),
            ..row(&[APP])
        };
        assert!(refused(&row).contains("expected the name of a header"));
    }
}
