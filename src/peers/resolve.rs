//! The addresses of the gateways of a region, which may be listed by several names.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tidegate_model::RegionId;
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::event::Event;
use tidegate_telemetry::Throttle;

const EVERY: Duration = Duration::from_secs(5);
const WARNED_EVERY: Duration = Duration::from_secs(60);

/// A name that takes longer does not resolve.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Gateways of a region that are known by address.
const ADDRESSES_MAX: usize = 64;

/// What the names of peers resolved to last.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<BTreeMap<Key, Vec<SocketAddr>>>>);

/// A region, and a name of its gateways.
type Key = (RegionId, String);

/// A name of a region's gateways.
struct Name {
    address: String,
    warnings: Throttle,
}

/// Resolves the names of a region's gateways again and again. One that does not resolve keeps the addresses
/// that it had, and a region none of whose names ever did what it had before.
pub(super) async fn resolve(
    region: RegionId,
    addresses: Vec<String>,
    known: Known,
    events: mpsc::Sender<Event>,
) {
    let name = |address| Name {
        address,
        warnings: Throttle::new(WARNED_EVERY),
    };
    let mut names: Vec<_> = addresses.into_iter().map(name).collect();
    loop {
        join_all(names.iter_mut().map(|it| it.resolve(&region, &known))).await;
        let addresses = names.iter().map(|it| it.address.as_str());
        let all = known.of(&region, addresses);
        if !all.is_empty() {
            let resolved = Event::Resolved(region.clone(), all);
            if events.send(resolved).await.is_err() {
                return;
            }
        }
        sleep(EVERY).await;
    }
}

impl Known {
    /// Forgets the names that are listed no more.
    pub(super) fn retain(&self, is_listed: impl Fn(&RegionId, &str) -> bool) {
        self.with(|known| known.retain(|(region, address), _| is_listed(region, address)));
    }

    fn of<'a>(
        &self,
        region: &RegionId,
        addresses: impl Iterator<Item = &'a str>,
    ) -> Vec<SocketAddr> {
        let keys = addresses.map(|address| (region.clone(), address.to_owned()));
        let mut all: Vec<_> = self.with(|known| {
            let known = keys.filter_map(|key| known.get(&key));
            known.flatten().copied().collect()
        });
        all.sort_unstable();
        all.dedup();
        all
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<Key, Vec<SocketAddr>>) -> T) -> T {
        // A panic while the lock is held loses an address at worst.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Name {
    async fn resolve(&mut self, region: &RegionId, known: &Known) {
        let address = &self.address;
        let found = timeout(ANSWER_MAX, lookup_host(address)).await;
        match found.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())) {
            Ok(found) => {
                let key = (region.clone(), address.clone());
                let found = found.take(ADDRESSES_MAX).collect();
                known.with(|known| known.insert(key, found));
            }
            Err(error) => {
                if let Some(suppressed) = self.warnings.pass(Instant::now()) {
                    tracing::warn!(%region, %address, %error, suppressed, "a peer's name does not resolve");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is sent first, by a name that resolves to nothing and perhaps another.
    async fn sent(known: &Known, names: &[&str]) -> Option<Vec<SocketAddr>> {
        let (events, mut received) = mpsc::channel(8);
        let names = names.iter().map(|&it| it.to_owned()).collect();
        let region = "there".parse().unwrap();
        let resolving = tokio::spawn(resolve(region, names, known.clone(), events));
        let sent = timeout(2 * ANSWER_MAX, received.recv()).await;
        resolving.abort();
        match sent {
            Ok(Some(Event::Resolved(_, addresses))) => Some(addresses),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_does_not_resolve_any_more_keeps_its_addresses_across_a_reload() {
        let (known, broken) = (Known::default(), "no port");
        assert_eq!(sent(&known, &[broken]).await, None, "nothing is retired");
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        let key = ("there".parse().unwrap(), broken.to_owned());
        known.with(|known| known.insert(key, vec![address]));
        assert_eq!(sent(&known, &[broken]).await, Some(vec![address]));
        let other = SocketAddr::from(([127, 0, 0, 1], 2));
        let both = sent(&known, &[broken, "127.0.0.1:2"]).await;
        assert_eq!(both, Some(vec![address, other]));
        known.retain(|_, name| name != broken);
        assert_eq!(sent(&known, &[broken]).await, None);
    }
}
