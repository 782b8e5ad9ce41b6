//! The givens of a test: a request, and the state of regions.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tidegate_model::{Covers, PathPattern};

use crate::decide::{Request, hint_of};
use crate::place::GeoPoint;
use crate::plan::{Condition, Country, CountrySet, Quantity, RegionIndex};

/// An address reserved for documentation by RFC 5737.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The content of `given`; omitted parts are `None` or missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Givens {
    pub(crate) entry: Option<RegionIndex>,
    pub(crate) country: Option<Country>,
    pub(crate) place: Option<GeoPoint>,
    pub(crate) client: Option<IpAddr>,
    pub(crate) path: Option<String>,
    pub(crate) method: Option<Method>,
    pub(crate) host: Option<String>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) cookies: Vec<(String, String)>,
    pub(crate) queries: Vec<(String, String)>,
    pub(crate) time_ms: Option<i64>,
    /// In chronological order.
    pub(crate) states: Vec<Change>,
}

/// A state of a region from some time on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    /// After the beginning; a given without a time has held for long.
    pub(crate) after: Option<Duration>,
    pub(crate) region: RegionIndex,
    pub(crate) state: State,
}

/// One aspect of a region's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Left,
    Drained,
    Unreachable,
    /// Of 10,000.
    Ramp(u16),
    Quantity(Quantity, u64),
}

impl Change {
    /// Whether both state the same of the same region from the same time on.
    pub(crate) fn contradicts(&self, other: &Self) -> bool {
        let is_same = match (self.state, other.state) {
            (State::Left | State::Ramp(_), State::Left | State::Ramp(_)) => true,
            (State::Quantity(one, _), State::Quantity(other, _)) => one == other,
            (one, other) => one == other,
        };
        is_same && (self.region, self.after) == (other.region, other.after)
    }
}

/// A test's request, in the form that decisions are made from.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    method: Method,
    path: String,
    query: String,
    host: String,
    headers: HeaderMap,
    hint: String,
    client: IpAddr,
    country: Option<Country>,
    place: Option<GeoPoint>,
}

impl Owned {
    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            host: &self.host,
            headers: &self.headers,
            client: self.client,
            country: self.country,
            place: self.place,
            hint: &self.hint,
            recorded: &[],
        }
    }
}

impl Givens {
    /// Returns the request, with defaults for omitted parts: `GET /`.
    pub(crate) fn request(&self) -> Owned {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        for (name, value) in &self.cookies {
            if let Ok(cookie) = HeaderValue::from_str(&format!("{name}={value}")) {
                headers.append(http::header::COOKIE, cookie);
            }
        }
        let queries: Vec<_> = self
            .queries
            .iter()
            .map(|(name, value)| pair(name, value))
            .collect();
        let hint = hint_of(&headers).into_owned();
        Owned {
            method: self.method.clone().unwrap_or(Method::GET),
            path: self.path.clone().unwrap_or_else(|| "/".to_owned()),
            query: queries.join("&"),
            host: self.host.clone().unwrap_or_default(),
            hint,
            headers,
            client: self.client.unwrap_or(CLIENT),
            country: self.country,
            place: self.place,
        }
    }

    /// Returns a condition that matches all requests with the given parts.
    pub(crate) fn condition(&self) -> Condition {
        let mut parts = Vec::new();
        if let Some(method) = &self.method {
            parts.push(Condition::Method(vec![method.clone()]));
        }
        if let Some(path) = &self.path {
            let only = PathPattern::new(path.as_str(), Covers::Itself);
            parts.push(Condition::Path(vec![only]));
        }
        if let Some(country) = self.country {
            let only: CountrySet = [country].into_iter().collect();
            parts.push(Condition::Country(Box::new(only)));
        }
        // Conditions are compared with the canonical address.
        let client = self.client.map(|client| client.to_canonical());
        parts.extend(client.map(|client| Condition::Client(vec![client.into()])));
        parts.extend(
            self.host
                .iter()
                .map(|host| Condition::Host(host.as_str().into())),
        );
        parts.extend(self.headers.iter().map(|(name, value)| {
            let value = value.to_str().unwrap_or_default();
            Condition::Header(name.clone(), Some(value.into()))
        }));
        let cookies = self.cookies.iter();
        parts.extend(cookies.map(|(name, value)| {
            Condition::Cookie(name.as_str().into(), Some(value.as_str().into()))
        }));
        let queries = self.queries.iter();
        parts.extend(queries.map(|(name, value)| {
            Condition::Query(name.as_str().into(), Some(value.as_str().into()))
        }));
        Condition::All(parts)
    }
}

/// Writes one parameter of a query; all characters except letters and digits are escaped.
fn pair(name: &str, value: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let [name, value] = [name, value].map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC));
    format!("{name}={value}")
}
