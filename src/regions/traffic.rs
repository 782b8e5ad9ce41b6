//! The traffic policy in force, and its tasks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use http::request::Parts;
use ipnet::IpNet;
use smallvec::SmallVec;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::judge::{RegionJudge, RegionView};
use super::node::{Answering, RegionNode};
use super::policy_file::PolicyFile;
use super::seen::{Seen, hide_state, show_state};
use super::{ClientLocation, GeoDatabase, Receipts};
use tidegate_model::RegionId;
use tidegate_traffic::facts::{Conditions, Facts};
use tidegate_traffic::health::{Outcome, Quantities, State};
use tidegate_traffic::plan::{OpenWindows, Plan, RegionIndex, RegionMask};

/// How often regions are judged if nothing happens: conditions hold for seconds.
const TICK: Duration = Duration::from_millis(100);

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
    nodes: Vec<Vec<RegionNode>>,
    /// By policy.
    pub(super) names: Vec<Arc<str>>,
    pub(super) facts: ArcSwap<Facts>,
    judge: Mutex<RegionJudge>,
    epoch: Instant,
    /// By region: since when one that has left was bad, in microseconds since the epoch, until a
    /// request has been sent elsewhere; else 0.
    failing_over: Vec<AtomicU64>,
    /// By region: since when it has been in its state, in microseconds since the epoch.
    states_since: Vec<AtomicU64>,
    pub(super) seen: Arc<Seen>,
    tasks: Mutex<JoinSet<()>>,
    /// Whether what it finds is logged and shown: not while it only decides beside another one.
    is_shown: AtomicBool,
}

/// A region as operators see it.
#[derive(Debug, Clone)]
pub struct RegionSummary {
    /// Its name.
    pub region: RegionId,
    /// `well`, `ramping`, `left`, `draining` or `unreachable`: the worst over all policies.
    pub state: &'static str,
    /// For how long it has been in this state.
    pub since: Duration,
    /// Its quantities.
    pub quantities: Quantities,
    /// Requests per second that this gateway has handed there.
    pub rps: f64,
    /// How far away it is, if it has a node that answers.
    pub round_trip: Option<Duration>,
    /// How many nodes of it this gateway knows.
    pub nodes: usize,
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
        for region in self.plan().all_regions().iter() {
            show_state(self.plan().region_id(region), self.state(region));
        }
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

    /// Records the end of an attempt at a node of a region. A failure that completes a condition is
    /// acted upon at once.
    pub fn sample(&self, region: &RegionId, node: &str, outcome: Outcome, took: Duration) {
        let Some(region) = self.plan().region_index(region.as_str()) else {
            return;
        };
        let mut judge = self.lock();
        judge.add(region, node, outcome, took, self.epoch.elapsed());
        if outcome == Outcome::Failed && judge.worst(self.plan(), region) != State::Left {
            self.renew(&mut judge, RegionMask::of(region));
        }
    }

    /// Takes in how the fleet judges the regions, which from then on counts instead of what this gateway sees
    /// of their nodes.
    pub fn judged_by_fleet(&self, conditions: Conditions) {
        let mut judge = self.lock();
        judge.adopt_fleet(conditions);
        self.renew(&mut judge, RegionMask::EMPTY);
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
            state: self.state(region),
            since: {
                let since = self.states_since[region.get()].load(Ordering::Relaxed);
                self.epoch
                    .elapsed()
                    .saturating_sub(Duration::from_micros(since))
            },
            quantities: judge.quantities(region),
            rps: judge.rate(region),
            round_trip: self.view(region, now).nodes.into_iter().flatten().min(),
            nodes: self.nodes[region.get()].len(),
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

    fn lock(&self) -> MutexGuard<'_, RegionJudge> {
        // A panic while the lock is held loses a sample at worst.
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the first facts, and tells what has changed since the policy before.
    fn publish(&self, before: Option<&Self>) {
        let mut judge = self.lock();
        let conditions = self.judge(&mut judge, self.plan().all_regions());
        self.facts
            .store(Arc::new(Facts::new(self.plan(), conditions)));
        for region in self.plan().all_regions().iter() {
            let name = self.plan().region_id(region);
            if self.is_shown.load(Ordering::Relaxed) {
                show_state(name, self.state(region));
            }
            let was = before.and_then(|before| {
                let region = before.plan().region_index(name.as_str())?;
                Some(before.state(region))
            });
            self.tell(&judge, region, was.unwrap_or("well"));
        }
    }

    /// Judges the regions, and publishes the facts if they have changed.
    fn renew(&self, judge: &mut RegionJudge, fresh: RegionMask) {
        let conditions = self.judge(judge, fresh);
        let before = self.facts.load_full();
        if *before.conditions() == conditions {
            return;
        }
        // Published first: workers decide by it while the rest is shown.
        self.facts
            .store(Arc::new(Facts::new(self.plan(), conditions)));
        for region in self.plan().all_regions().iter() {
            self.tell(judge, region, worst_state(&before, region));
        }
    }

    fn judge(&self, judge: &mut RegionJudge, fresh: RegionMask) -> Conditions {
        let now = Instant::now();
        let regions = self.plan().all_regions().iter();
        let views: Vec<_> = regions.map(|region| self.view(region, now)).collect();
        let time_ms = SystemTime::now().duration_since(UNIX_EPOCH);
        let time_ms = time_ms.map_or(0, |time| {
            i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
        });
        let time = (time_ms, now.saturating_duration_since(self.epoch));
        judge.step(self.plan(), (&views, fresh), time)
    }

    /// Logs and shows a change of a region's state.
    fn tell(&self, judge: &RegionJudge, region: RegionIndex, was: &'static str) {
        let (state, name) = (self.state(region), self.plan().region_id(region));
        if state == was {
            return;
        }
        if self.is_shown.load(Ordering::Relaxed) {
            let quantities = judge.quantities(region);
            let errors = quantities.errors.map(|it| it as f64 / 10_000.0);
            let p99_ms = quantities.p99.map(|it| it as f64 / 1_000.0);
            tracing::warn!(region = %name, was, state, errors_percent = errors, p99_ms, "a region's state has changed");
            show_state(name, state);
        }
        let now = micros(self.epoch.elapsed());
        self.states_since[region.get()].store(now, Ordering::Relaxed);
        let left = matches!(state, "left" | "unreachable");
        // With a fleet, the others' records do not say since when.
        let begun = || judge.is_of_fleet().then(|| self.epoch.elapsed());
        let since = judge.bad_since(region).or_else(begun).filter(|_| left);
        let since = since.map_or(0, |it| micros(it).max(1));
        self.failing_over[region.get()].store(since, Ordering::Relaxed);
    }

    /// Returns the worst state of a region over all policies.
    fn state(&self, region: RegionIndex) -> &'static str {
        worst_state(&self.facts.load(), region)
    }

    fn view(&self, region: RegionIndex, now: Instant) -> RegionView {
        let nodes = &self.nodes[region.get()];
        let answering: SmallVec<[_; 8]> = nodes.iter().map(|node| node.answering(now)).collect();
        let drained = |it: &Answering| *it == Answering::Drained;
        let latency = |it: &Answering| match it {
            Answering::Within(latency) => Some(*latency),
            Answering::No | Answering::Drained => None,
        };
        RegionView {
            drained: !nodes.is_empty() && answering.iter().all(drained),
            nodes: answering.iter().map(latency).collect(),
            lag: nodes.iter().map(RegionNode::lag).max().unwrap_or(0),
        }
    }

    /// Judges regularly, and whenever a node's breaker moves.
    fn watch(self: &Arc<Self>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let weak = Arc::downgrade(self);
        tasks.spawn(tick(Weak::clone(&weak)));
        let mut known: Vec<*const ()> = Vec::new();
        for node in self.nodes.iter().flatten() {
            let selector = Arc::as_ptr(&node.selector).cast();
            if known.contains(&selector) {
                continue;
            }
            known.push(selector);
            let (weak, mut moved) = (Weak::clone(&weak), node.selector.watch());
            tasks.spawn(async move {
                while moved.changed().await.is_ok() {
                    let Some(traffic) = weak.upgrade() else {
                        return;
                    };
                    traffic.renew(&mut traffic.lock(), RegionMask::EMPTY);
                }
            });
        }
    }

    /// Ends the failover from a region, the first decision for another one; returns how long it took.
    pub(super) fn end_failover(&self, from: RegionIndex) -> Option<Duration> {
        let since = &self.failing_over[from.get()];
        if since.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let since = Duration::from_micros(since.swap(0, Ordering::Relaxed));
        (!since.is_zero()).then(|| self.epoch.elapsed().saturating_sub(since))
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

fn worst_state(facts: &Facts, region: RegionIndex) -> &'static str {
    let conditions = facts.conditions();
    let ramps = |it: &(RegionIndex, u16)| it.0 == region;
    let mut standings = conditions.standings.iter();
    if conditions.unreachable.has(region) {
        "unreachable"
    } else if facts.draining().has(region) {
        "draining"
    } else if standings.clone().any(|it| it.left.has(region)) {
        "left"
    } else if standings.any(|it| it.ramps.iter().any(ramps)) {
        "ramping"
    } else {
        "well"
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

async fn tick(traffic: Weak<TrafficPolicy>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(traffic) = traffic.upgrade() else {
            return;
        };
        traffic.renew(&mut traffic.lock(), traffic.plan().all_regions());
    }
}
