//! How regions leave and return in a test: the gateway's own state machine, in the test's time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::given::{Change, Givens, State};
use crate::facts::RegionStanding;
use crate::health::{Board, Quantities, Reading};
use crate::plan::{Plan, Quantity, RegionIndex, RegionMask};
use crate::schedule::Schedule;

/// An unreachability that ends within this time does not count; examined just after it.
const MOMENT: Duration = Duration::from_millis(2_001);

/// Most steps of one region by one judgement for the tests of a file: they take some tenths of a
/// second.
pub(crate) const STEPS_MAX: usize = 10_000_000;

/// What a test fails with that would take more.
pub(crate) const TOO_LONG: &str = "the timelines of this file's tests take too long to simulate";

/// Most moments at which one test is examined.
const MOMENTS_MAX: usize = 100_000;

/// The state of regions when the test's request arrives.
pub(crate) struct Outcome {
    pub(crate) draining: RegionMask,
    pub(crate) unreachable: RegionMask,
    pub(crate) standings: Vec<RegionStanding>,
}

/// Replays the givens; the request arrives with the last one.
///
/// `None` if that takes too many steps.
pub(crate) fn play(
    plan: &Plan,
    schedule: &Schedule,
    givens: &Givens,
    left: &mut usize,
) -> Option<Outcome> {
    let last = givens.states.last().and_then(|change| change.after);
    let last = last.unwrap_or_default();
    let open = |at: Duration| {
        let before = i64::try_from((last - at).as_millis()).unwrap_or(i64::MAX);
        let time_ms = givens.time_ms.map(|time_ms| time_ms.saturating_sub(before));
        time_ms
            .map(|time_ms| schedule.open(time_ms))
            .unwrap_or_default()
    };
    let mut timeline = Timeline::new(plan, left);
    let mut changes = givens.states.iter().peekable();
    // Everything was well, and then as given for longer than any clause requires.
    let begin = longest(plan).saturating_add(MOMENT);
    timeline.step(RegionMask::EMPTY, Duration::ZERO)?;
    while let Some(change) = changes.next_if(|change| change.after.is_none()) {
        timeline.take(change);
    }
    let drained = plan.drained_by(open(Duration::ZERO));
    timeline.step(drained, Duration::ZERO)?;
    timeline.step(drained, begin)?;
    for at in moments(plan, givens, last)? {
        while let Some(change) = changes.next_if(|change| change.after <= Some(at)) {
            timeline.take(change);
        }
        timeline.step(plan.drained_by(open(at)), begin.saturating_add(at))?;
    }
    Some(timeline.outcome())
}

/// The regions during a test.
struct Timeline<'a> {
    plan: &'a Plan,
    board: Board,
    readings: Vec<Reading>,
    said: Said,
    /// Remaining steps.
    left: &'a mut usize,
}

impl<'a> Timeline<'a> {
    fn new(plan: &'a Plan, left: &'a mut usize) -> Self {
        let well = Reading {
            quantities: Quantities {
                errors: Some(0),
                p99: Some(0),
                saturation: Some(0),
                lag: 0,
            },
            ..Reading::default()
        };
        Self {
            plan,
            board: Board::new(plan, Duration::ZERO),
            readings: vec![well; plan.regions().len()],
            said: Said::default(),
            left,
        }
    }

    fn take(&mut self, change: &Change) {
        self.said.take(change, &mut self.readings);
    }

    /// Judges the regions; windows drain some of them.
    fn step(&mut self, drained: RegionMask, now: Duration) -> Option<()> {
        let steps = self.readings.len() * self.plan.judgements().len();
        *self.left = self.left.checked_sub(steps)?;
        let drained = drained.or(self.said.drained);
        for (region, reading) in (0..).map(RegionIndex).zip(&mut self.readings) {
            reading.draining = drained.has(region);
        }
        self.board.step(self.plan, &self.readings, false, now);
        Some(())
    }

    fn outcome(&self) -> Outcome {
        let standings = self.board.standings(self.plan).into_iter();
        Outcome {
            draining: self.said.drained,
            unreachable: self.board.unreachable(),
            standings: standings.map(|judged| self.said.over(judged)).collect(),
        }
    }
}

/// The states of regions that are not quantities.
#[derive(Default)]
struct Said {
    drained: RegionMask,
    left: RegionMask,
    ramps: Vec<(RegionIndex, u16)>,
}

impl Said {
    fn take(&mut self, change: &Change, readings: &mut [Reading]) {
        let (region, reading) = (change.region, &mut readings[change.region.get()]);
        let quantities = &mut reading.quantities;
        match change.state {
            State::Left => self.left = self.left.or(RegionMask::of(region)),
            State::Drained => self.drained = self.drained.or(RegionMask::of(region)),
            State::Unreachable => reading.reachable = false,
            State::Ramp(position) => {
                self.left = self.left.without(RegionMask::of(region));
                self.ramps.retain(|(ramping, _)| *ramping != region);
                self.ramps.push((region, position));
            }
            State::Quantity(Quantity::Errors, value) => quantities.errors = Some(value),
            State::Quantity(Quantity::P99, value) => quantities.p99 = Some(value),
            State::Quantity(Quantity::Saturation, value) => quantities.saturation = Some(value),
            State::Quantity(Quantity::Lag, value) => quantities.lag = value,
        }
    }

    /// Returns the quantities to judge, with the earlier ones filled in.
    fn over(&self, mut judged: RegionStanding) -> RegionStanding {
        judged.left = judged.left.or(self.left);
        judged
            .ramps
            .retain(|(region, _)| self.ramps.iter().all(|(said, _)| said != region));
        judged.ramps.extend(&self.ramps);
        judged
    }
}

/// Returns the longest time that a clause requires.
fn longest(plan: &Plan) -> Duration {
    holds(plan).into_iter().max().unwrap_or_default()
}

fn holds(plan: &Plan) -> BTreeSet<Duration> {
    let leaves = plan
        .judgements()
        .iter()
        .filter_map(|one| one.leave.as_ref());
    let returns = plan
        .judgements()
        .iter()
        .filter_map(|one| one.comeback.as_ref());
    let leaves = leaves.map(|leave| leave.hold);
    leaves
        .chain(returns.map(|comeback| comeback.hold))
        .collect()
}

/// Returns when a state may change: at each change of the givens, and when its effect has held for
/// long enough.
///
/// `None` if there are too many.
fn moments(plan: &Plan, givens: &Givens, last: Duration) -> Option<BTreeSet<Duration>> {
    let mut moments = BTreeSet::from([Duration::ZERO, last]);
    let holds = holds(plan);
    let changes: BTreeSet<_> = givens
        .states
        .iter()
        .filter_map(|change| change.after)
        .collect();
    let most = changes.len() * holds.len() * holds.len();
    if most > MOMENTS_MAX {
        return None;
    }
    for change in changes {
        moments.insert(change);
        moments.insert(change.saturating_add(MOMENT));
        for hold in &holds {
            let held = change.saturating_add(*hold);
            moments.insert(held);
            moments.extend(holds.iter().map(|next| held.saturating_add(*next)));
        }
    }
    moments.retain(|moment| *moment <= last);
    Some(moments)
}
