//! The traffic policy in force, and its tasks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::request::Parts;
use ipnet::IpNet;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::judge::RegionJudge;
use super::node::RegionNode;
use super::policy_file::PolicyFile;
use super::seen::{Seen, hide_state};
use super::{ClientLocation, GeoDatabase, Receipts};
use tidegate_model::RegionId;
use tidegate_traffic::facts::Facts;
use tidegate_traffic::health::Quantities;
use tidegate_traffic::plan::{OpenWindows, Plan, RegionIndex};

/// Where requests enter.
#[derive(Clone)]
pub struct Entrance {
    /// The region of this process.
    pub region: RegionId,
    /// Networks whose word on the client is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Where decisions are recorded, if they are.
    pub receipts: Option<Arc<Receipts>>,
}

/// The traffic policy in force on this gateway.
pub struct TrafficPolicy {
    file: Arc<PolicyFile>,
    geo: Option<Arc<GeoDatabase>>,
    entrance: Entrance,
    pub(super) local: Option<RegionIndex>,
    /// By region.
    pub(super) nodes: Vec<Vec<RegionNode>>,
    /// By policy.
    pub(super) names: Vec<Arc<str>>,
    pub(super) facts: ArcSwap<Facts>,
    pub(super) judge: Mutex<RegionJudge>,
    pub(super) epoch: Instant,
    /// By region: since when one that has left was bad, in microseconds since the epoch, until a
    /// request has been sent elsewhere; else 0.
    pub(super) failing_over: Vec<AtomicU64>,
    /// By region: since when it has been in its state, in microseconds since the epoch.
    pub(super) states_since: Vec<AtomicU64>,
    pub(super) seen: Arc<Seen>,
    pub(super) tasks: Mutex<JoinSet<()>>,
    /// Whether what it finds is logged and shown: not while it only decides beside another one.
    pub(super) is_shown: AtomicBool,
}

/// A region as operators see it.
#[derive(Debug, Clone)]
pub struct RegionSummary {
    /// Its name.
    pub region: RegionId,
    /// `well`, `ramping`, `left`, `draining` or `unreachable`: the worst over all policies; `unknown`
    /// where it is taken for well because nothing is known of it.
    pub state: &'static str,
    /// For how long it has been in this state.
    pub since: Duration,
    /// Its quantities, of the requests that this gateway has handed there.
    pub quantities: Quantities,
    /// Requests per second that this gateway has handed there.
    pub rps: f64,
    /// How far away it is, if it has a node that answers.
    pub round_trip: Option<Duration>,
    /// How many nodes of it this gateway knows.
    pub nodes: usize,
    /// Whether one of them is a node of the database: without one, no lag is known.
    pub has_database: bool,
    /// Its declared capacity in requests per second.
    pub capacity_rps: Option<u32>,
}

impl TrafficPolicy {
    /// Puts a policy in force; what is known about regions is taken over from the one before.
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn start(
        file: Arc<PolicyFile>,
        geo: Option<Arc<GeoDatabase>>,
        entrance: Entrance,
        nodes: Vec<RegionNode>,
        before: Option<&Self>,
    ) -> Arc<Self> {
        Self::begin(file, (geo, entrance), nodes, before, true)
    }

    /// As [`start`](Self::start), for a policy that decides beside the one in force until it
    /// [takes over](Self::take_over).
    #[must_use]
    pub fn start_beside(
        file: Arc<PolicyFile>,
        (geo, entrance): (Option<Arc<GeoDatabase>>, Entrance),
        nodes: Vec<RegionNode>,
        before: Option<&Self>,
    ) -> Arc<Self> {
        Self::begin(file, (geo, entrance), nodes, before, false)
    }

    /// Shows what this policy finds from now on, in place of the one before.
    pub fn take_over(&self, before: Option<&Self>) {
        self.is_shown.store(true, Ordering::Relaxed);
        if let Some(before) = before {
            before.is_shown.store(false, Ordering::Relaxed);
            before.hide_others_than(self);
        }
        self.show_states(&self.lock());
    }

    fn begin(
        file: Arc<PolicyFile>,
        (geo, entrance): (Option<Arc<GeoDatabase>>, Entrance),
        nodes: Vec<RegionNode>,
        before: Option<&Self>,
        is_shown: bool,
    ) -> Arc<Self> {
        let plan = &file.plan;
        let local = plan.region_index(entrance.region.as_str());
        let epoch = before.map_or_else(Instant::now, |before| before.epoch);
        let judge = {
            let known = before.map(|before| (before.plan(), before.lock()));
            let known = known.as_ref().map(|(plan, judge)| (*plan, &**judge));
            RegionJudge::new(plan, local, known, epoch.elapsed())
        };
        let mut by_region: Vec<Vec<_>> = plan.regions().iter().map(|_| Vec::new()).collect();
        for node in nodes {
            if let Some(region) = plan.region_index(node.region.as_str()) {
                by_region[region.get()].push(node);
            }
        }
        let traffic = Arc::new(Self {
            names: plan
                .policies()
                .iter()
                .map(|it| (&*it.name).into())
                .collect(),
            failing_over: by_region_before(plan, before, 0, |it| &it.failing_over),
            states_since: by_region_before(plan, before, micros(epoch.elapsed()), |it| {
                &it.states_since
            }),
            facts: ArcSwap::from_pointee(Facts::new(plan, Default::default())),
            judge: Mutex::new(judge),
            nodes: by_region,
            seen: before.map_or_else(Arc::default, |before| Arc::clone(&before.seen)),
            tasks: Mutex::default(),
            is_shown: AtomicBool::new(is_shown),
            entrance,
            file,
            geo,
            local,
            epoch,
        });
        traffic.publish(before);
        if let Some(before) = before.filter(|_| is_shown) {
            before.hide_others_than(&traffic);
        }
        traffic.watch();
        traffic
    }

    /// Shows no more the regions that another policy does not have.
    fn hide_others_than(&self, other: &Self) {
        let all = self.plan().all_regions().iter();
        let all = all.map(|region| self.plan().region_id(region));
        let removed = all.filter(|it| other.plan().region_index(it.as_str()).is_none());
        removed.for_each(hide_state);
    }

    /// Returns the plan in force.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.file.plan
    }

    /// Returns the file that is in force.
    #[must_use]
    pub fn file(&self) -> &PolicyFile {
        &self.file
    }

    /// Returns the file, to be put in force again.
    #[must_use]
    pub fn shared_file(&self) -> &Arc<PolicyFile> {
        &self.file
    }

    /// Returns the windows that are open.
    #[must_use]
    pub fn open_windows(&self) -> OpenWindows {
        self.facts.load().conditions().open
    }

    /// Returns the regions of the plan as operators see them.
    #[must_use]
    pub fn regions(&self) -> Vec<RegionSummary> {
        let judge = self.lock();
        let now = Instant::now();
        let summary = |region: RegionIndex| RegionSummary {
            region: self.plan().region_id(region).clone(),
            state: self.shown_state(&judge, region),
            since: {
                let since = self.states_since[region.get()].load(Ordering::Relaxed);
                self.epoch
                    .elapsed()
                    .saturating_sub(Duration::from_micros(since))
            },
            quantities: judge.attempted(region),
            rps: judge.rate(region),
            round_trip: self.view(region, now).nodes.into_iter().flatten().min(),
            nodes: self.nodes[region.get()].len(),
            has_database: {
                let mut nodes = self.nodes[region.get()].iter();
                nodes.any(|node| node.database.is_some())
            },
            capacity_rps: self.plan().regions()[region.get()].capacity,
        };
        self.plan().all_regions().iter().map(summary).collect()
    }

    /// Returns the region of this process.
    pub(super) fn own(&self) -> &RegionId {
        &self.entrance.region
    }

    /// Returns where decisions are recorded, if they are.
    pub(super) fn receipts(&self) -> Option<&Receipts> {
        self.entrance.receipts.as_deref()
    }

    /// Returns where the client of a request is.
    pub(super) fn locate(&self, head: &Parts) -> ClientLocation {
        ClientLocation::of(head, &self.entrance.trusted_proxies, self.geo.as_deref())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RegionJudge> {
        // A panic while the lock is held loses a sample at worst.
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a value for each region of a plan: the one by the policy before, where that has the region.
fn by_region_before(
    plan: &Plan,
    before: Option<&TrafficPolicy>,
    new: u64,
    values: impl Fn(&TrafficPolicy) -> &[AtomicU64],
) -> Vec<AtomicU64> {
    let value = |region: RegionIndex| {
        let before = before?;
        let index = before
            .plan()
            .region_index(plan.region_id(region).as_str())?;
        Some(values(before)[index.get()].load(Ordering::Relaxed))
    };
    let regions = plan.all_regions().iter();
    regions
        .map(|region| AtomicU64::new(value(region).unwrap_or(new)))
        .collect()
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
