//! This gateway's membership in the fleet, put together.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use tidegate_fleet::{Fleet, Identity};
use tidegate_model::RegionId;
use tidegate_telemetry::names;
use tidegate_traffic::compile;
use tidegate_traffic::plan::Plan;
use tidegate_traffic::syntax::Source;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::credentials::CredentialsError;
use super::driver::{Driver, OwnHealth};
use super::listener::FleetListener;
use super::refusal::Refusal;
use super::renewal::renew;
use super::resolve::resolve;
use super::settings::FleetConfig;
use super::view::FleetView;
use crate::http::Listener;

/// Events that wait for the driver; those who bring more of them wait.
const EVENTS_MAX: usize = 4_096;

/// When regions leave and return, where no policy says so.
const DEFAULTS: &str = "defaults {
  leave when errors > 2% or p99 > 400ms or lag > 5s for 2s
  return when errors < 0.5% and p99 < 250ms for 60s ramp 5m
}
";

/// The tasks of a gateway's membership, which end with it.
#[derive(Debug)]
pub struct Membership {
    view: Arc<ArcSwap<FleetView>>,
    _tasks: JoinSet<()>,
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
        own: OwnHealth,
        health: Router,
    ) -> Result<Self, MembershipError> {
        show_metrics();
        let credentials = config.files.read_at_start(region)?;
        let credentials = Arc::new(ArcSwap::from_pointee(credentials));
        let unbound = |error| MembershipError::Listen(config.listen, error);
        let listener = Listener::bind("fleet", config.listen).map_err(unbound)?;
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let view = Arc::<ArcSwap<FleetView>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(renew(
            config.files.clone(),
            region.clone(),
            Arc::clone(&credentials),
        ));
        for peer in &config.peers {
            tasks.spawn(resolve(peer.clone(), events.clone()));
        }
        let listener = FleetListener {
            listener,
            credentials: Arc::clone(&credentials),
            events: events.clone(),
            health,
        };
        tasks.spawn(listener.run());
        let identity = Identity {
            region: region.clone(),
            random: fastrand::u64(..),
        };
        let fleet = Fleet::new(identity);
        let plan = built_in(region, config)?;
        let driver = Driver::new(fleet, plan, own, credentials, events, Arc::clone(&view));
        tasks.spawn(driver.run(received));
        Ok(Self {
            view,
            _tasks: tasks,
        })
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
}

/// The policy of a fleet without one: here while this region is well, else in the nearest.
fn built_in(region: &RegionId, config: &FleetConfig) -> Result<Arc<Plan>, MembershipError> {
    let peers = config.peers.iter().map(|peer| peer.region.as_str());
    let others: Vec<_> = peers.filter(|it| *it != region.as_str()).collect();
    let names = std::iter::once(region.as_str()).chain(others.iter().copied());
    let declared: String = names.map(|name| format!("region {name}\n")).collect();
    let plan = |tiers: String| {
        let text = format!("{declared}{DEFAULTS}policy everything {{ prefer {tiers} }}\n");
        compile(&Source::new("built-in", text.as_bytes())).plan
    };
    let nearest = match others.is_empty() {
        true => "local".to_owned(),
        false => format!("local | nearest({})", others.join(", ")),
    };
    // Where a region's place is not known, there is no nearest: the order of the list counts.
    let listed = || std::iter::once("local").chain(others.iter().copied());
    let listed = || listed().collect::<Vec<_>>().join(" | ");
    let plan = plan(nearest).or_else(|| plan(listed()));
    plan.map(Arc::new).ok_or(MembershipError::BuiltIn)
}
