//! Where a client is: what the CDN says, else the address database, else unknown.
//!
//! What cannot be read counts as absent: a client never gets an error for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use tidegate_traffic::place::GeoPoint;
use tidegate_traffic::plan::Country;

use super::GeoDatabase;
use crate::http::client_address;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static LATITUDE: HeaderName = HeaderName::from_static("cloudfront-viewer-latitude");
static LONGITUDE: HeaderName = HeaderName::from_static("cloudfront-viewer-longitude");
static COUNTRY: HeaderName = HeaderName::from_static("cloudfront-viewer-country");

/// A client's address, and where it is as far as that is known.
#[derive(Clone, Copy, Debug)]
pub struct ClientLocation {
    /// The address.
    pub address: IpAddr,
    /// The country.
    pub country: Option<Country>,
    /// The location.
    pub place: Option<GeoPoint>,
}

impl ClientLocation {
    /// Locates the client of a request. CloudFront's fields count only from a trusted proxy.
    pub(super) fn of(head: &Parts, trusted: &[IpNet], database: Option<&GeoDatabase>) -> Self {
        let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let peer = peer.to_canonical();
        let headers = &head.headers;
        let forwarded_for = headers.get_all(&X_FORWARDED_FOR);
        let address = client_address(peer, forwarded_for.iter(), trusted);
        let is_proxy = trusted.iter().any(|network| network.contains(&peer));
        let (mut country, mut place) = match is_proxy {
            true => (value(headers, &COUNTRY), said_place(headers)),
            false => (None, None),
        };
        if (country.is_none() || place.is_none())
            && let Some(database) = database
        {
            let (known_country, known_place) = database.locate(address);
            country = country.or(known_country);
            place = place.or(known_place);
        }
        Self {
            address,
            country,
            place,
        }
    }
}

fn said_place(headers: &HeaderMap) -> Option<GeoPoint> {
    GeoPoint::new(value(headers, &LATITUDE)?, value(headers, &LONGITUDE)?)
}

fn value<T: std::str::FromStr>(headers: &HeaderMap, name: &HeaderName) -> Option<T> {
    headers.get(name)?.to_str().ok()?.trim_ascii().parse().ok()
}
