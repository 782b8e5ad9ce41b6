//! Strong: writes and strong reads of one key are linearizable, as the checker of `todc-utils`
//! sees it (Wing and Gong's search with Lowe's memory of where it has been).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tidegate_model::Level;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action as Event, History};
use todc_utils::specifications::Specification;

use super::fate::Fate;
use super::{Guarantee, Violation};
use crate::consistency::history::{Action, Operation, Outcome, Value};

/// A register as in a sequential program.
struct Register;

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(Value),
    Read(Value),
}

impl Specification for Register {
    type State = Value;
    type Operation = Step;

    fn init() -> Value {
        0
    }

    fn apply(step: &Step, state: &Value) -> (bool, Value) {
        match *step {
            Step::Write(value) => (true, value),
            Step::Read(value) => (value == *state, *state),
        }
    }
}

/// A step and the time within which it took effect.
struct Interval {
    step: Step,
    start: Duration,
    end: Duration,
}

/// A promotion that loses something makes two histories of one: what was kept, from the first
/// timeline to the last, and all that the earlier timeline ever showed. Each is linearizable.
pub(super) fn judge(fate: &Fate<'_>) -> Vec<Violation> {
    let operations = &fate.history.operations;
    let kept = |operation: &Operation| {
        let value = operation.answer().map(|answer| answer.value);
        !value
            .or(operation.written())
            .is_some_and(|value| fate.is_lost(value))
    };
    let earlier = |operation: &Operation| match (operation.written(), operation.answer()) {
        (Some(_), answer) => !answer.is_some_and(|answer| fate.is_after_loss(answer)),
        (None, answer) => answer.is_some_and(|answer| fate.is_before_loss(answer)),
    };
    let kept = judge_keys(operations.iter().filter(|it| kept(it)), "kept");
    match fate.losses() {
        0 => kept,
        _ => [
            kept,
            judge_keys(
                operations.iter().filter(|it| earlier(it)),
                "before the loss",
            ),
        ]
        .concat(),
    }
}

fn judge_keys<'a>(operations: impl Iterator<Item = &'a Operation>, of: &str) -> Vec<Violation> {
    let mut keys: BTreeMap<usize, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        keys.entry(operation.key).or_default().push(operation);
    }
    let broken = keys.iter().filter(|(_, of_key)| !is_linearizable(of_key));
    let told = |key: &usize| format!("key {key}, what was {of}");
    broken
        .map(|(key, _)| Violation::of_many(Guarantee::Linearizable, told(key)))
        .collect()
}

fn is_linearizable(of_key: &[&Operation]) -> bool {
    let seen = first_seen(of_key);
    let intervals = of_key
        .iter()
        .filter_map(|operation| interval(operation, &seen));
    let mut events = Vec::new();
    for (process, Interval { step, start, end }) in intervals.enumerate() {
        // At the same instant a call comes before a response: they may have overlapped.
        events.push(((start, 0), process, Event::Call(step)));
        events.push(((end, 1), process, Event::Response(step)));
    }
    if events.is_empty() {
        return true;
    }
    events.sort_by_key(|(at, ..)| *at);
    let events = events
        .into_iter()
        .map(|(_, process, event)| (process, event));
    WGLChecker::<Register>::is_linearizable(History::from_actions(events.collect()))
}

/// When the first strong read that shows a value was answered.
fn first_seen(of_key: &[&Operation]) -> HashMap<Value, Duration> {
    let mut seen = HashMap::new();
    for operation in of_key {
        if let Some((Level::Strong, _, answer)) = operation.read() {
            let first = seen.entry(answer.value).or_insert(operation.completed);
            *first = operation.completed.min(*first);
        }
    }
    seen
}

/// A write of unknown outcome counts from the moment when its value was first seen, and took effect
/// before that; one that was never seen can be ignored, because no other write has its value.
fn interval(operation: &Operation, seen: &HashMap<Value, Duration>) -> Option<Interval> {
    let (step, end) = match (operation.action, &operation.outcome) {
        (Action::Write(value), Outcome::Answered(_)) => (Step::Write(value), operation.completed),
        (Action::Write(value), Outcome::Unknown) => (Step::Write(value), *seen.get(&value)?),
        (Action::Read(Level::Strong, _), Outcome::Answered(answer)) => {
            (Step::Read(answer.value), operation.completed)
        }
        _ => return None,
    };
    let start = operation.invoked;
    Some(Interval {
        step,
        start,
        end: end.max(start),
    })
}
