//! This gateway's membership in the fleet, put together.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use tidegate_fleet::{Fleet, Identity};
use tidegate_model::RegionId;
use tidegate_telemetry::{again_and_again, names};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::built_in::built_in_policy;
use super::credentials::CredentialsError;
use super::driver::{Driver, FleetParts};
use super::event::Event;
use super::expected::ExpectedRegions;
use super::fleet_drain::FleetDrain;
use super::heard::DIRECTIONS;
use super::listener::FleetListener;
use super::peer_limits::PeerLimits;
use super::refusal::Refusal;
use super::renewal::renew;
use super::resolve::{Known, resolve};
use super::settings::{FleetConfig, Peer};
use super::view::FleetView;
use crate::endpoint::Public;
use crate::http::Listener;
use crate::tunnels::Handed;

/// Events that wait for the driver; those who bring more of them wait.
const EVENTS_MAX: usize = 4_096;

/// The tasks of a gateway's membership, which end with it.
#[derive(Debug)]
pub struct Membership {
    id: String,
    region: RegionId,
    view: Arc<ArcSwap<FleetView>>,
    pub(super) events: mpsc::Sender<Event>,
    peers: Mutex<Peers>,
    /// Whose gateways may connect.
    expected: ExpectedRegions,
    /// Ends with the last connection of a peer.
    ended: Mutex<mpsc::Receiver<Infallible>>,
    _tasks: JoinSet<()>,
}

/// The peers that are listed, and the tasks that resolve their names.
#[derive(Debug)]
struct Peers {
    listed: Vec<Peer>,
    known: Known,
    resolving: JoinSet<()>,
}

impl Peers {
    fn new(listed: Vec<Peer>, known: Known, events: &mpsc::Sender<Event>) -> Self {
        known.retain(|region, address| {
            let mut listed = listed.iter();
            listed.any(|it| it.region == *region && it.address == address)
        });
        let mut resolving = JoinSet::new();
        let mut regions = BTreeMap::<_, Vec<_>>::new();
        for Peer { region, address } in &listed {
            let addresses = regions.entry(region.clone()).or_default();
            addresses.push(address.clone());
        }
        for (region, addresses) in regions {
            let known = known.clone();
            let events = events.clone();
            resolving.spawn(again_and_again("peers", move || {
                let (region, addresses) = (region.clone(), addresses.clone());
                resolve(region, addresses, known.clone(), events.clone())
            }));
        }
        Self {
            listed,
            known,
            resolving,
        }
    }
}

/// Why a gateway cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// Its certificate, key or CA cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A region has a name that no policy can speak of, or there are too many.
    #[error(
        "[fleet] peers: no traffic policy can be made of these regions: at most 64, and no name may be a \
         word of the language"
    )]
    BuiltIn,
    /// The listener cannot be bound.
    #[error("FLEET_ADDR = \"{0}\": {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

impl Membership {
    /// Binds the listener and begins to dial the peers. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Names the variable that cannot be used.
    pub fn begin(
        config: &FleetConfig,
        region: &RegionId,
        parts: (FleetParts, mpsc::Receiver<Handed>),
        public: Public,
        health: Router,
        drain: FleetDrain,
    ) -> Result<Self, MembershipError> {
        show_metrics();
        let (alive, ended) = mpsc::channel(1);
        let (credentials, untimely) = config.files.read_at_start(region)?;
        if let Some(untimely) = untimely {
            let file = &config.files.certificate;
            tracing::error!(?file, "the fleet's certificate {untimely}: peers refuse it");
        }
        let credentials = Arc::new(ArcSwap::from_pointee(credentials));
        let unbound = |error| MembershipError::Listen(config.listen, error);
        let listener = Listener::bind("fleet", config.listen).map_err(unbound)?;
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let view = Arc::<ArcSwap<FleetView>>::default();
        let mut tasks = JoinSet::new();
        let renewed = (config.files.clone(), region.clone());
        let (taken, told) = (Arc::clone(&credentials), events.clone());
        tasks.spawn(again_and_again("fleet certificate", move || {
            let (files, region) = renewed.clone();
            renew(files, region, Arc::clone(&taken), told.clone())
        }));
        let expected = ExpectedRegions::new(region, &config.peers);
        let listener = FleetListener {
            listener,
            credentials: Arc::clone(&credentials),
            expected: expected.clone(),
            events: events.clone(),
            health: health.clone(),
            public,
            idle_timeout: parts.0.idle_timeout,
            limits: PeerLimits::default(),
            drain,
            alive,
        };
        tasks.spawn(listener.run());
        let identity = Identity {
            region: region.clone(),
            random: fastrand::u64(..),
        };
        let fleet = Fleet::new(identity);
        let id = fleet.id().to_string();
        // By which nothing is decided: there is a policy in force wherever there are peers.
        let plan = built_in_policy(region, &config.peers).ok_or(MembershipError::BuiltIn)?;
        let driver = Driver::new(
            fleet,
            plan.plan,
            parts,
            credentials,
            events.clone(),
            Arc::clone(&view),
            health,
        );
        tasks.spawn(driver.run(received));
        Ok(Self {
            id,
            region: region.clone(),
            view,
            peers: Mutex::new(Peers::new(config.peers.clone(), Known::default(), &events)),
            expected,
            events,
            ended: Mutex::new(ended),
            _tasks: tasks,
        })
    }

    /// Takes the peers that a configuration lists now. Connections to the others end when they are idle.
    pub async fn set_peers(&self, listed: &[(RegionId, String)]) {
        let listed = listed.iter().map(|(region, address)| Peer {
            region: region.clone(),
            address: address.clone(),
        });
        let listed: Vec<_> = listed.collect();
        let mut peers = self.peers.lock().await;
        if peers.listed == listed {
            return;
        }
        tracing::info!(
            count = listed.len(),
            "the fleet's list of peers has changed"
        );
        self.expected.set(&self.region, &listed);
        // What it has found is not to be sent after what follows.
        peers.resolving.shutdown().await;
        let known = peers.known.clone();
        let before = std::mem::replace(&mut *peers, Peers::new(listed, known, &self.events));
        for Peer { region, .. } in before.listed {
            if peers.listed.iter().all(|peer| peer.region != region) {
                let gone = Event::Resolved(region, Vec::new());
                let _driver_gone = self.events.send(gone).await;
            }
        }
    }

    /// Waits until no peer is connected any more, which the listener's drain brings about.
    pub async fn ended(&self) {
        // Nothing is ever sent.
        let _none = self.ended.lock().await.recv().await;
    }

    /// Returns the id of this gateway.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns what is known of the fleet now.
    #[must_use]
    pub fn view(&self) -> Arc<FleetView> {
        self.view.load_full()
    }
}

/// Shows the metrics of the fleet before anything has happened.
fn show_metrics() {
    metrics::counter!(names::FLEET_PROBES).increment(0);
    for refusal in Refusal::ALL {
        let reason = refusal.as_str();
        metrics::counter!(names::FLEET_HANDSHAKES_REFUSED, "reason" => reason).increment(0);
    }
    for direction in DIRECTIONS {
        metrics::counter!(names::FLEET_BYTES, "direction" => direction).increment(0);
    }
}
