//! What a decision sees of a request.

use std::net::IpAddr;

use http::{HeaderMap, Method};

use crate::hash::Key;
use crate::place::Place;
use crate::plan::{AffinityKey, Country, REGIONS_MAX};

/// Names of a hint that are read: no plan has more regions.
pub const HINTS_MAX: usize = REGIONS_MAX;

/// What a decision sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path in normal form.
    pub path: &'a str,
    /// What follows the question mark, as sent.
    pub query: &'a str,
    /// The host that was asked, without a port.
    pub host: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The client's address.
    pub client: IpAddr,
    /// The client's country, where it is known.
    pub country: Option<Country>,
    /// Where the client is, if that is known.
    pub place: Option<Place>,
    /// The value of `X-Region-Hint`: regions that the client has measured, nearest first.
    pub hint: &'a str,
    /// Keys that were hashed when the request was recorded; they count before its own fields.
    pub recorded: &'a [(AffinityKey, Key)],
}
