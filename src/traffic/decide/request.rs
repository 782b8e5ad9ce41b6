//! The parts of a request that a decision uses.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method};

use crate::hash::Key;
use crate::place::GeoPoint;
use crate::plan::{AffinityKey, Country, REGIONS_MAX};

/// Most names of a hint that are read: no plan has more regions.
pub const HINTS_MAX: usize = REGIONS_MAX;

static X_REGION_HINT: HeaderName = HeaderName::from_static("x-region-hint");

/// The parts of a request that a decision uses.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path in normal form.
    pub path: &'a str,
    /// The query string, as sent.
    pub query: &'a str,
    /// The request's host, without a port.
    pub host: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The client's address.
    pub client: IpAddr,
    /// The client's country, if known.
    pub country: Option<Country>,
    /// The client's location, if known.
    pub place: Option<GeoPoint>,
    /// The value of `X-Region-Hint`: regions that the client has measured, nearest first.
    pub hint: &'a str,
    /// Keys that were hashed when the request was recorded; they count before its own fields.
    pub recorded: &'a [(AffinityKey, Key)],
}

/// Returns the hints of all fields, in order: the lines of a list are one list (RFC 9110 section 5.3).
///
/// Allocates only if there are several lines.
pub fn hint_of(headers: &HeaderMap) -> Cow<'_, str> {
    let lines = headers.get_all(&X_REGION_HINT).into_iter();
    let mut lines = lines.filter_map(|line| line.to_str().ok());
    let first = lines.next().unwrap_or_default();
    match lines.next() {
        None => Cow::Borrowed(first),
        Some(second) => {
            let all: Vec<_> = [first, second].into_iter().chain(lines).collect();
            Cow::Owned(all.join(","))
        }
    }
}
