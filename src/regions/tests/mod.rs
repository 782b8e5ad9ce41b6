//! Regions judged by samples and nodes, and how soon that decides.

mod address_database;
mod geo;
mod judging;
mod trigger;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use http::request::Parts;

use super::{
    Entrance, GeoDatabase, PolicyFile, Reaches, RegionNode, RegionRoute, TrafficPlans,
    TrafficPolicy,
};
use crate::http::Routed;
use tidegate_model::RegionId;

/// An upstream with a node in every region.
pub(super) struct Everywhere;

impl Reaches for Everywhere {
    fn has_node_in(&self, _region: &RegionId) -> bool {
        true
    }
}

pub(super) fn region(name: &str) -> RegionId {
    name.parse().unwrap()
}

pub(super) fn file(text: &str) -> Arc<PolicyFile> {
    Arc::new(PolicyFile::of("test.policy", text.as_bytes()).unwrap())
}

pub(super) fn entrance() -> Entrance {
    Entrance {
        region: region("eu-west-1"),
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        receipts: None,
    }
}

/// Puts a policy in force on a gateway in eu-west-1 that trusts 10.0.0.0/8.
pub(super) fn in_force(
    text: &str,
    geo: Option<Arc<GeoDatabase>>,
    nodes: Vec<RegionNode>,
) -> Arc<TrafficPolicy> {
    TrafficPolicy::start(file(text), geo, entrance(), nodes, None)
}

/// A request for /x from an address.
pub(super) fn head(client: &str, fields: &[(&'static str, &'static str)]) -> Parts {
    let mut request = http::Request::get("http://app.example/x").body(()).unwrap();
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let peer = SocketAddr::new(client.parse().unwrap(), 1);
    request.extensions_mut().insert(ConnectInfo(peer));
    request.into_parts().0
}

pub(super) fn routed(traffic: &Arc<TrafficPolicy>, head: &Parts) -> Arc<Routed> {
    let plans = TrafficPlans {
        in_force: Some(Arc::clone(traffic)),
        ..TrafficPlans::default()
    };
    match RegionRoute::decide(&plans, head, "/x", &Everywhere) {
        Ok(route) => route.unwrap().routed,
        Err(refused) => refused.routed,
    }
}

/// Returns where a request goes.
pub(super) fn goes_to(traffic: &Arc<TrafficPolicy>, head: &Parts) -> String {
    let region = routed(traffic, head).region.clone();
    region.map_or_else(|| "none".to_owned(), |region| region.to_string())
}
