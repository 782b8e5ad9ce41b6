//! How the policy in force judges the regions: by samples, by breakers that move, and regularly.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::TrafficPolicy;
use super::judge::RegionJudge;
use super::node::{Answering, RegionNode};
use super::record::RegionView;
use super::seen::show_state;
use super::traffic::micros;
use tidegate_model::RegionId;
use tidegate_telemetry::{PANIC_PAUSE, survive};
use tidegate_traffic::facts::{Conditions, Facts};
use tidegate_traffic::health::{Outcome, State};
use tidegate_traffic::plan::{RegionIndex, RegionMask};

/// How often regions are judged if nothing happens: conditions hold for seconds.
const TICK: Duration = Duration::from_millis(100);

impl TrafficPolicy {
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
        let is_first = !judge.is_of_fleet();
        judge.adopt_fleet(conditions);
        self.renew(&mut judge, RegionMask::EMPTY);
        // What was unknown is not any more, even if it is judged as before.
        if is_first && self.is_shown.load(Ordering::Relaxed) {
            self.show_states(&judge);
        }
    }

    /// Publishes the first facts, and tells what has changed since the policy before.
    pub(super) fn publish(&self, before: Option<&Self>) {
        let mut judge = self.lock();
        let conditions = self.judge(&mut judge, self.plan().all_regions());
        self.facts
            .store(Arc::new(Facts::new(self.plan(), conditions)));
        for region in self.plan().all_regions().iter() {
            let name = self.plan().region_id(region);
            let was = before.and_then(|before| {
                let region = before.plan().region_index(name.as_str())?;
                Some(before.state(region))
            });
            self.tell(&judge, region, was.unwrap_or("well"));
        }
        if self.is_shown.load(Ordering::Relaxed) {
            self.show_states(&judge);
        }
    }

    /// Shows the states of all regions.
    pub(super) fn show_states(&self, judge: &RegionJudge) {
        for region in self.plan().all_regions().iter() {
            let name = self.plan().region_id(region);
            show_state(name, self.shown_state(judge, region));
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

    /// Judges the regions, which without a judge would stay for ever as they are. After a panic they are judged anew
    /// by what is there then: the facts are stored as a whole, and only what is shown may miss a change.
    async fn judge_now(&self, fresh: RegionMask) -> Option<()> {
        survive("regions", async { self.renew(&mut self.lock(), fresh) }).await
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
            show_state(name, self.shown_state(judge, region));
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
    pub(super) fn state(&self, region: RegionIndex) -> &'static str {
        worst_state(&self.facts.load(), region)
    }

    /// Returns a region's state as operators see it: policies take a region for well of which nothing is known,
    /// because it has no nodes here and none of its gateways is heard.
    pub(super) fn shown_state(&self, judge: &RegionJudge, region: RegionIndex) -> &'static str {
        let has_nodes = !self.nodes[region.get()].is_empty();
        let is_heard = has_nodes || Some(region) == self.local || judge.is_of_fleet();
        match self.state(region) {
            "well" if !is_heard => "unknown",
            state => state,
        }
    }

    pub(super) fn view(&self, region: RegionIndex, now: Instant) -> RegionView {
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
    pub(super) fn watch(self: &Arc<Self>) {
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
                    traffic.judge_now(RegionMask::EMPTY).await;
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

pub(super) fn worst_state(facts: &Facts, region: RegionIndex) -> &'static str {
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

async fn tick(traffic: Weak<TrafficPolicy>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(traffic) = traffic.upgrade() else {
            return;
        };
        let judged = traffic.judge_now(traffic.plan().all_regions()).await;
        drop(traffic);
        if judged.is_none() {
            sleep(PANIC_PAUSE).await;
        }
    }
}
