//! The parts of a request that a decision uses.

use std::net::IpAddr;

use http::{HeaderMap, Method};

use crate::hash::Key;
use crate::place::GeoPoint;
use crate::plan::{AffinityKey, Country, REGIONS_MAX};

/// Most names of a hint that are read: no plan has more regions.
pub const HINTS_MAX: usize = REGIONS_MAX;

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
