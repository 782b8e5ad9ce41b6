//! The addresses of the gateways of a region, which may be listed by several names.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_model::RegionId;
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::event::Event;
use tidegate_telemetry::Throttle;

const EVERY: Duration = Duration::from_secs(5);
const WARNED_EVERY: Duration = Duration::from_secs(60);

/// Gateways of a region that are known by address.
const ADDRESSES_MAX: usize = 64;

/// A name, and what it resolved to last.
struct Name {
    address: String,
    warnings: Throttle,
    known: Vec<SocketAddr>,
}

/// Resolves the names of a region's gateways again and again. One that does not resolve keeps the addresses
/// that it had.
pub(super) async fn resolve(region: RegionId, addresses: Vec<String>, events: mpsc::Sender<Event>) {
    let name = |address| Name {
        address,
        warnings: Throttle::new(WARNED_EVERY),
        known: Vec::new(),
    };
    let mut names: Vec<_> = addresses.into_iter().map(name).collect();
    loop {
        for name in &mut names {
            name.resolve(&region).await;
        }
        let mut all: Vec<_> = names.iter().flat_map(|it| &it.known).copied().collect();
        all.sort_unstable();
        all.dedup();
        let resolved = Event::Resolved(region.clone(), all);
        if events.send(resolved).await.is_err() {
            return;
        }
        sleep(EVERY).await;
    }
}

impl Name {
    async fn resolve(&mut self, region: &RegionId) {
        let address = &self.address;
        match lookup_host(address).await {
            Ok(found) => self.known = found.take(ADDRESSES_MAX).collect(),
            Err(error) => {
                if let Some(suppressed) = self.warnings.pass(Instant::now()) {
                    tracing::warn!(%region, %address, %error, suppressed, "a peer's name does not resolve");
                }
            }
        }
    }
}
