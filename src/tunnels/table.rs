//! The open tunnels, by region.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use hyper::client::conn::http2::SendRequest;
use tidegate_fleet::{ConnectionId, TUNNELS};
use tidegate_model::RegionId;
use tidegate_steering::RetryBudget;
use tidegate_traffic::health::Outcome;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::tunnel::Tunnel;
use super::tunnel_metrics::TunnelMetrics;
use crate::http::ConnectionWindows;

/// Ends of requests that wait for the fleet's driver, which takes them twenty times a second; what is
/// more is not seen.
const HANDED_MAX: usize = 16_384;

/// The end of a request that was handed on.
#[derive(Debug)]
pub struct Handed {
    /// Over which connection.
    pub connection: ConnectionId,
    /// How it ended.
    pub end: HandedEnd,
    /// The path, if a probe may ask for it: a GET without query, credentials, cookie, token and body, whose
    /// answer was not a stored one.
    pub path: Option<Box<str>>,
}

/// How a request ended that was handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedEnd {
    /// It was answered, or failed alone; the time is to the head of its answer.
    Ended(Outcome, Duration),
    /// It was lost with its tunnel.
    Lost,
}

/// The tunnels that can be used now. The fleet's driver keeps them.
pub struct Tunnels {
    regions: ArcSwap<HashMap<RegionId, Arc<RegionTunnels>>>,
    handed: mpsc::Sender<Handed>,
}

/// The tunnels to one region.
#[derive(Default)]
pub(super) struct RegionTunnels {
    tunnels: ArcSwap<Vec<Arc<Tunnel>>>,
    reaches_primary: AtomicBool,
    pub(super) metrics: TunnelMetrics,
    /// By the share of requests, in millionths, that policies grant.
    budgets: Mutex<BTreeMap<u32, RetryBudget>>,
}

impl Tunnels {
    /// Begins without tunnels; the receiver gets the ends of requests.
    #[must_use]
    pub fn new() -> (Arc<Self>, mpsc::Receiver<Handed>) {
        let (handed, receiver) = mpsc::channel(HANDED_MAX);
        let regions = ArcSwap::default();
        (Arc::new(Self { regions, handed }), receiver)
    }

    /// Adds a tunnel to a region.
    pub fn open(
        &self,
        region: &RegionId,
        connection: ConnectionId,
        sender: SendRequest<Body>,
        windows: ConnectionWindows,
    ) {
        let region = self.region_or_new(region);
        let tunnel = Arc::new(Tunnel::new(connection, sender, windows));
        region.change(|tunnels| tunnels.push(tunnel));
    }

    /// Gives a tunnel no new requests; those that are under way go on.
    pub fn close(&self, region: &RegionId, connection: ConnectionId) {
        if let Some(region) = self.region(region) {
            region.change(|tunnels| tunnels.retain(|it| it.connection != connection));
        }
    }

    /// Returns the regions of which as many tunnels as are always open are crowded, and whether all are.
    #[must_use]
    pub fn crowded(&self) -> Vec<(RegionId, bool)> {
        let regions = self.regions.load();
        let crowded = regions.iter().filter_map(|(id, region)| {
            let tunnels = region.tunnels();
            let crowded = tunnels.iter().filter(|it| it.is_crowded()).count();
            (crowded >= TUNNELS).then(|| (id.clone(), crowded == tunnels.len()))
        });
        crowded.collect()
    }

    /// Notes whether a region says that it reaches the primary.
    pub fn set_reaches_primary(&self, region: &RegionId, reaches: bool) {
        if let Some(region) = self.region(region) {
            region.reaches_primary.store(reaches, Ordering::Relaxed);
        }
    }

    /// Returns whether a request can be sent to a region.
    #[must_use]
    pub fn is_open(&self, region: &RegionId) -> bool {
        let regions = self.regions.load();
        let is_open = |it: &Arc<RegionTunnels>| it.tunnels().iter().any(|it| it.is_open());
        regions.get(region).is_some_and(is_open)
    }

    /// Returns whether a region says that it reaches the primary.
    #[must_use]
    pub fn reaches_primary(&self, region: &RegionId) -> bool {
        let regions = self.regions.load();
        let region = regions.get(region);
        region.is_some_and(|it| it.reaches_primary.load(Ordering::Relaxed))
    }

    /// Returns whether one more request may be tried elsewhere because a region has failed it, and counts
    /// it. `share` is what the policy grants, in millionths.
    #[must_use]
    pub fn may_retry(&self, region: &RegionId, share: u32) -> bool {
        let region = self.region(region);
        region.is_some_and(|it| it.with_budget(share, RetryBudget::withdraw))
    }

    pub(super) fn region(&self, region: &RegionId) -> Option<Arc<RegionTunnels>> {
        self.regions.load().get(region).map(Arc::clone)
    }

    /// Tells the driver how a request ended.
    pub(super) fn tell(&self, handed: Handed) {
        // What there is no room for is not seen.
        let _full = self.handed.try_send(handed);
    }

    fn region_or_new(&self, region: &RegionId) -> Arc<RegionTunnels> {
        if let Some(known) = self.region(region) {
            return known;
        }
        let new = Arc::<RegionTunnels>::default();
        // Only the driver adds regions.
        let mut regions = HashMap::clone(&self.regions.load());
        regions.insert(region.clone(), Arc::clone(&new));
        self.regions.store(Arc::new(regions));
        new
    }
}

impl RegionTunnels {
    /// Counts a request towards what may be tried elsewhere.
    pub(super) fn count(&self, share: u32) {
        self.with_budget(share, |budget, now| budget.deposit(1, now));
    }

    pub(super) fn tunnels(&self) -> arc_swap::Guard<Arc<Vec<Arc<Tunnel>>>> {
        self.tunnels.load()
    }

    /// Only the driver changes tunnels.
    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Tunnel>>)) {
        let mut tunnels = Vec::clone(&self.tunnels.load());
        change(&mut tunnels);
        self.tunnels.store(Arc::new(tunnels));
    }

    fn with_budget<T>(&self, share: u32, act: impl FnOnce(&mut RetryBudget, Instant) -> T) -> T {
        let now = Instant::now();
        // A panic while the lock is held loses a count at worst.
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || RetryBudget::new(f64::from(share) / 1e6, now);
        act(budgets.entry(share).or_insert_with(new), now)
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http2;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tidegate_fleet::{Fleet, Identity, Opinion, Output, Own, TUNNELS_MAX};

    use super::super::tunnel::Seat;
    use super::*;

    /// The name of a connection.
    fn connection_id(region: &RegionId) -> ConnectionId {
        let mut fleet = Fleet::new(Identity {
            region: "here".parse().unwrap(),
            random: 1,
        });
        let mut out = Vec::new();
        let address = std::net::SocketAddr::from(([10, 0, 0, 1], 1));
        fleet.set_addresses(region, &[address], &mut out);
        let (own, opinion) = (Own::default(), Opinion::default());
        fleet.tick(&own, &opinion, Duration::from_secs(1), &mut out);
        let dialled = out.iter().find_map(|it| match it {
            Output::Dial { connection, .. } => Some(*connection),
            _ => None,
        });
        dialled.unwrap()
    }

    #[tokio::test]
    async fn tunnels_count_as_crowded_however_many_there_are() {
        let (tunnels, _handed) = Tunnels::new();
        let region = "there".parse().unwrap();
        let id = connection_id(&region);
        let mut far_ends = Vec::new();
        let mut add = async || {
            let (near, far) = tokio::io::duplex(1_024);
            far_ends.push(far);
            let builder = http2::Builder::new(TokioExecutor::new());
            let (sender, connection) = builder.handshake(TokioIo::new(near)).await.unwrap();
            tokio::spawn(connection);
            tunnels.open(&region, id, sender, ConnectionWindows::default());
        };
        add().await;
        add().await;
        let known = tunnels.region(&region).unwrap();
        let mut seats = Vec::new();
        let mut crowd = |count: usize| {
            while known.tunnels().iter().filter(|it| it.is_crowded()).count() < count {
                seats.push(Seat::take(&known.tunnels(), &[]).unwrap());
            }
        };
        crowd(1);
        assert_eq!(tunnels.crowded(), []);
        crowd(2);
        assert_eq!(tunnels.crowded(), [(region.clone(), true)]);
        add().await;
        assert_eq!(tunnels.crowded(), [(region.clone(), false)]);
        for _ in 3..TUNNELS_MAX {
            add().await;
        }
        crowd(TUNNELS_MAX);
        assert_eq!(tunnels.crowded(), [(region.clone(), true)]);
        assert!(Seat::take(&known.tunnels(), &[]).is_none());
    }
}
