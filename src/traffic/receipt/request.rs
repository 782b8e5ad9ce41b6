//! The parts of a request that conditions and keys name.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use tidegate_model::is_normal;

use crate::decide::{Request, mismatch};
use crate::facts::{Facts, PolicyFacts};
use crate::hash::Key;
use crate::place::GeoPoint;
use crate::plan::{AffinityKey, Condition, Plan, Tier};
use crate::receipt::ReceiptError;
use crate::receipt::names::{RecordedNames, has, written};

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
    #[serde(skip_serializing_if = "RecordedNames::is_empty")]
    names: RecordedNames,
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
            names: RecordedNames {
                headers: written(named.headers.iter().map(|name| name.as_str())),
                cookies: written(named.cookies.iter().copied()),
                query: written(named.parameters.iter().copied()),
                keys: written(self::keys(plan).map(ToString::to_string)),
            },
        }
    }

    /// Refuses what no gateway writes.
    pub(super) fn check(&self) -> Result<(), ReceiptError> {
        const KINDS: [&str; 4] = ["cookie ", "header ", "path ", "client /"];
        let is_key = |text: &String| KINDS.iter().any(|kind| text.starts_with(kind));
        let mut keys = self.keys.keys().chain(&self.names.keys);
        let checks = [
            ("path", is_normal(&self.path)),
            ("host", self.host.bytes().all(|it| it.is_ascii_graphic())),
            (
                "key",
                keys.all(is_key) && self.keys.values().all(|it| is_hash(it)),
            ),
        ];
        match checks.into_iter().find(|(_, is_right)| !is_right) {
            Some((field, _)) => Err(ReceiptError::Request(field)),
            None => Ok(()),
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

impl RecordedRequest {
    /// Returns the first field on which a plan's decision depends and that was not written down; `request` is
    /// what was.
    pub(super) fn missing(
        &self,
        plan: &Plan,
        facts: &Facts,
        request: &Request<'_>,
    ) -> Option<String> {
        for (at, policy) in plan.policies().iter().enumerate() {
            let holds = policy.matches.truth(&|leaf| {
                let is_known = self.unknown(leaf, request).is_none();
                is_known.then(|| mismatch(leaf, request).is_none())
            });
            match holds {
                Some(true) => return self.missing_key(plan, facts.policy(at), request, at),
                Some(false) => {}
                None => {
                    let mut first = None;
                    policy.matches.leaves(&mut |leaf| {
                        first = first.take().or_else(|| self.unknown(leaf, request));
                    });
                    return first;
                }
            }
        }
        None
    }

    /// Returns the field of a condition, if it was not written down.
    fn unknown(&self, leaf: &Condition, request: &Request<'_>) -> Option<String> {
        let (is_known, field) = match leaf {
            Condition::Header(name, _) => {
                (self.has_header(name, request), format!("header {name}"))
            }
            Condition::Cookie(name, _) => {
                (self.has_cookie(name, request), format!("cookie {name}"))
            }
            Condition::Query(name, _) => {
                let is_known = has(&self.names.query, name) || request.has_query(name, None);
                (is_known, format!("query {name}"))
            }
            Condition::Client(_) => (self.client.is_some(), "client address".to_owned()),
            _ => return None,
        };
        (!is_known).then_some(field)
    }

    fn has_header(&self, name: &HeaderName, request: &Request<'_>) -> bool {
        // Of cookies, some may have been written down.
        has(&self.names.headers, name.as_str())
            || name != COOKIE && request.headers.contains_key(name)
    }

    fn has_cookie(&self, name: &str, request: &Request<'_>) -> bool {
        has(&self.names.cookies, name)
            || has(&self.names.headers, COOKIE.as_str())
            || request.cookies(name).next().is_some()
    }

    /// Returns the affinity key that may decide and was not written down.
    fn missing_key(
        &self,
        plan: &Plan,
        facts: &PolicyFacts,
        request: &Request<'_>,
        policy: usize,
    ) -> Option<String> {
        let policy = &plan.policies()[policy];
        let is_hashed = |tier: &Tier| matches!(tier, Tier::Spread(_) | Tier::Weighted(_));
        if facts.ramping.is_empty() && !policy.tiers.iter().any(is_hashed) {
            return None;
        }
        for key in policy.affinity.iter().chain([&AffinityKey::ADDRESS]) {
            let text = key.to_string();
            let is_known = match key {
                _ if self.keys.contains_key(&text) || has(&self.names.keys, &text) => true,
                AffinityKey::Cookie(name) => self.has_cookie(name, request),
                AffinityKey::Header(name) => self.has_header(name, request),
                AffinityKey::Path(_) => true,
                AffinityKey::Client { .. } => self.client.is_some(),
            };
            if !is_known {
                return Some(match key {
                    // As a policy has it; receipts write its prefix for IPv6, too.
                    _ if *key == AffinityKey::ADDRESS => "client address".to_owned(),
                    AffinityKey::Client { v4, .. } => format!("client /{v4}"),
                    AffinityKey::Cookie(_) | AffinityKey::Header(_) | AffinityKey::Path(_) => text,
                });
            }
            if request.key_of(key).is_some() {
                return None;
            }
        }
        None
    }
}

/// Whether a text is a hash as it is written: 16 hexadecimal digits.
fn is_hash(text: &str) -> bool {
    text.len() == 16
        && text
            .bytes()
            .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
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
