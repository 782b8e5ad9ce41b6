//! The parts of a request that conditions and keys name.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};

use crate::decide::Request;
use crate::hash::Key;
use crate::place::GeoPoint;
use crate::plan::{AffinityKey, Condition, Plan};
use crate::receipt::ReceiptError;

/// The parts of a request that a decision used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RecordedRequest {
    method: String,
    path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    query: String,
    host: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    /// Latitude and longitude in hundred-thousandths of a degree.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<(i32, i32)>,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
    /// By the text of the affinity key, in hexadecimal.
    keys: BTreeMap<String, String>,
}

/// The parts of requests that a plan's conditions name.
#[derive(Default)]
struct Named<'a> {
    headers: Vec<&'a HeaderName>,
    cookies: Vec<&'a str>,
    parameters: Vec<&'a str>,
    client: bool,
}

impl<'a> Named<'a> {
    fn of(plan: &'a Plan) -> Self {
        let mut named = Self::default();
        for policy in plan.policies() {
            policy.matches.leaves(&mut |leaf| match leaf {
                Condition::Header(name, _) => named.headers.push(name),
                Condition::Cookie(name, _) => named.cookies.push(name),
                Condition::Query(name, _) => named.parameters.push(name),
                Condition::Client(_) => named.client = true,
                _ => {}
            });
        }
        named
    }
}

impl RecordedRequest {
    pub(super) fn new(plan: &Plan, request: &Request<'_>) -> Self {
        let named = Named::of(plan);
        let keys = keys(plan).filter_map(|key| {
            let hashed = request.key_of(key)?;
            Some((key.to_string(), format!("{:016x}", hashed.0)))
        });
        Self {
            method: request.method.as_str().to_owned(),
            path: request.path.to_owned(),
            query: query(request, &named.parameters),
            host: request.host.to_owned(),
            headers: headers(request, &named),
            client: named.client.then_some(request.client),
            country: request.country.map(|country| country.to_string()),
            at: request.place.map(|place| place.e5()),
            hint: request.hint.to_owned(),
            keys: keys.collect(),
        }
    }

    /// Calls `then` with the request as a plan sees it.
    pub(super) fn with<T>(
        &self,
        plan: &Plan,
        then: impl FnOnce(&Request<'_>) -> T,
    ) -> Result<T, ReceiptError> {
        let invalid = ReceiptError::Request;
        let method = Method::from_bytes(self.method.as_bytes());
        let method = method.map_err(|_refused| invalid("method"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = name.parse::<HeaderName>();
            let value = HeaderValue::from_bytes(&bytes(value));
            headers.append(
                name.map_err(|_refused| invalid("header"))?,
                value.map_err(|_refused| invalid("header"))?,
            );
        }
        let country = self.country.as_deref().map(str::parse).transpose();
        let place = self.at.map(|(latitude, longitude)| {
            let place = GeoPoint::from_e5(latitude, longitude);
            place.ok_or(invalid("place"))
        });
        let recorded = keys(plan).filter_map(|key| {
            let hashed = u64::from_str_radix(self.keys.get(&key.to_string())?, 16);
            Some(hashed.map(|hashed| (key.clone(), Key(hashed))))
        });
        let recorded: Result<Vec<_>, _> = recorded.collect();
        let recorded = recorded.map_err(|_refused| invalid("key"))?;
        Ok(then(&Request {
            method: &method,
            path: &self.path,
            query: &self.query,
            host: &self.host,
            headers: &headers,
            client: self.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            country: country.map_err(|_refused| invalid("country"))?,
            place: place.transpose()?,
            hint: &self.hint,
            recorded: &recorded,
        }))
    }
}

/// Returns every key that a plan may hash; the address is the last fallback of all policies.
fn keys(plan: &Plan) -> impl Iterator<Item = &AffinityKey> {
    let of_policies = plan.policies().iter().flat_map(|policy| &policy.affinity);
    of_policies.chain([&AffinityKey::ADDRESS])
}

fn query(request: &Request<'_>, parameters: &[&str]) -> String {
    let pairs = request.query.split('&');
    let named = pairs.filter(|pair| {
        let alone = Request {
            query: pair,
            ..*request
        };
        parameters.iter().any(|name| alone.has_query(name, None))
    });
    named.collect::<Vec<_>>().join("&")
}

/// Header values are bytes: those beyond ASCII are written as the characters with the same code.
fn headers(request: &Request<'_>, named: &Named<'_>) -> Vec<(String, String)> {
    let mut recorded = Vec::new();
    for (name, value) in request.headers {
        if named.headers.contains(&name) {
            recorded.push((name.as_str().to_owned(), text(value.as_bytes())));
        }
    }
    if !named.headers.contains(&&COOKIE) {
        for cookie in &named.cookies {
            let values = request.cookies(cookie);
            let pairs = values.map(|value| format!("{cookie}={}", text(value)));
            recorded.extend(pairs.map(|pair| (COOKIE.as_str().to_owned(), pair)));
        }
    }
    recorded
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Returns the bytes of such a text; a character without a byte becomes a null byte, which no
/// header contains.
fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|it| u8::try_from(it).unwrap_or(0))
        .collect()
}
