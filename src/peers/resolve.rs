//! The addresses of the gateways of a region.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_model::RegionId;
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::event::Event;
use super::settings::Peer;
use tidegate_telemetry::Throttle;

const EVERY: Duration = Duration::from_secs(5);
const WARNED_EVERY: Duration = Duration::from_secs(60);

/// Gateways of a region that are known by address.
const ADDRESSES_MAX: usize = 64;

/// Resolves the name of a region's gateways again and again.
pub(super) async fn resolve(peer: Peer, events: mpsc::Sender<Event>) {
    let mut warnings = Throttle::new(WARNED_EVERY);
    loop {
        match addresses(&peer.address).await {
            Ok(addresses) => {
                let region: RegionId = peer.region.clone();
                let resolved = Event::Resolved(region, addresses);
                if events.send(resolved).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                if let Some(suppressed) = warnings.pass(Instant::now()) {
                    let (region, address) = (&peer.region, &peer.address);
                    tracing::warn!(%region, %address, %error, suppressed, "a peer's name does not resolve");
                }
            }
        }
        sleep(EVERY).await;
    }
}

async fn addresses(name: &str) -> std::io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<_> = lookup_host(name).await?.take(ADDRESSES_MAX).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}
