//! What peers may take of this gateway.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_model::RegionId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of one region from one address: a gateway needs eight tunnels and a control connection to each of
/// its peers, twice while they are made anew.
const CONNECTIONS_MAX: usize = 64;

/// Requests of one region that are under way.
const REQUESTS_MAX: usize = 2_000;

/// Counts what each peer region takes.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerLimits(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    connections: HashMap<(RegionId, IpAddr), usize>,
    requests: HashMap<RegionId, Arc<Semaphore>>,
}

/// A connection, until it is dropped.
#[derive(Debug)]
pub(super) struct PeerConnection {
    all: PeerLimits,
    key: (RegionId, IpAddr),
    requests: Arc<Semaphore>,
}

impl PeerLimits {
    /// Takes room for a connection; none if there is none.
    pub(super) fn connect(&self, region: &RegionId, address: IpAddr) -> Option<PeerConnection> {
        let key = (region.clone(), address);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = taken.connections.entry(key.clone()).or_default();
        if *connections >= CONNECTIONS_MAX {
            return None;
        }
        *connections += 1;
        // Regions are those of certificates that the fleet's CA has signed: there are few.
        let requests = taken.requests.entry(region.clone());
        let requests = requests.or_insert_with(|| Arc::new(Semaphore::new(REQUESTS_MAX)));
        Some(PeerConnection {
            all: self.clone(),
            key,
            requests: Arc::clone(requests),
        })
    }
}

impl PeerConnection {
    /// Takes room for a request of the region; none if there is none.
    pub(super) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.requests).try_acquire_owned().ok()
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        let mut taken = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = taken.connections.get_mut(&self.key) {
            *connections -= 1;
            if *connections == 0 {
                taken.connections.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_64_connections_from_an_address_and_2000_requests() {
        let (limits, region) = (PeerLimits::default(), "us-east-1".parse().unwrap());
        let connect = |last| limits.connect(&region, IpAddr::from([127, 0, 0, last]));
        let mut open: Vec<_> = (0..64).map(|_| connect(1).unwrap()).collect();
        assert!(connect(1).is_none());
        let other = connect(2).unwrap();
        let requests: Vec<_> = (0..2_000).map(|_| open[0].enter().unwrap()).collect();
        assert!(other.enter().is_none(), "they are the region's");
        drop(requests);
        assert!(other.enter().is_some());
        open.pop();
        assert!(connect(1).is_some());
    }
}
