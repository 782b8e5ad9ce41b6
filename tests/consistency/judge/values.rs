//! What holds at every level: an answer shows a value that was written, as one version of its key,
//! at the requested level or above.

use std::collections::HashMap;
use std::time::Duration;

use super::fate::refused_and_written;
use super::{Guarantee, Violation};
use crate::consistency::history::{Action, Answer, History, Operation, Value, Version};

pub(super) fn judge(history: &History) -> Vec<Violation> {
    let operations = &history.operations;
    let answered = || operations.iter().filter_map(|it| Some((it, it.answer()?)));
    let begun = begun(operations);
    let unwritten = answered().filter(|(operation, answer)| !is_written(&begun, operation, answer));
    let unwritten = unwritten.map(|(operation, _)| {
        let why = "that was never written";
        Violation::of(Guarantee::WrittenValues, operation, why)
    });
    let lowered = answered().filter(|(operation, answer)| is_lowered(operation, answer));
    let lowered = lowered
        .map(|(operation, _)| Violation::of(Guarantee::LevelKept, operation, "its level is lower"));
    let mut versions = HashMap::new();
    let repeated =
        answered().filter_map(|(operation, answer)| repeated(&mut versions, operation, answer));
    let of_answers = unwritten.chain(lowered).chain(repeated);
    of_answers
        .chain(refused_and_written(history))
        .chain(written_twice(history))
        .collect()
}

/// When the write of each value began, by key and value.
fn begun(operations: &[Operation]) -> HashMap<(usize, Value), Duration> {
    let writes = operations.iter().filter_map(|operation| {
        let value = operation.written()?;
        Some(((operation.key, value), operation.invoked))
    });
    writes.collect()
}

fn is_written(
    begun: &HashMap<(usize, Value), Duration>,
    operation: &Operation,
    answer: &Answer,
) -> bool {
    let write = begun.get(&(operation.key, answer.value));
    match operation.action {
        Action::Write(value) => answer.value == value && answer.version > 0,
        Action::Read(..) if answer.version == 0 => answer.value == 0,
        Action::Read(..) => write.is_some_and(|begun| *begun < operation.completed),
    }
}

fn is_lowered(operation: &Operation, answer: &Answer) -> bool {
    matches!(operation.action, Action::Read(level, _) if answer.level < level)
}

/// A value that has two versions was written twice.
fn repeated(
    versions: &mut HashMap<(usize, Value), Version>,
    operation: &Operation,
    answer: &Answer,
) -> Option<Violation> {
    let known = versions
        .entry((operation.key, answer.value))
        .or_insert(answer.version);
    let why = format!("it had version {known} elsewhere");
    (*known != answer.version).then(|| Violation::of(Guarantee::WrittenOnce, operation, &why))
}

fn written_twice(history: &History) -> impl Iterator<Item = Violation> {
    let twice = history
        .ledger
        .iter()
        .filter(|(_, versions)| versions.len() > 1);
    twice.map(|(value, versions)| {
        let told = format!("value {value} was written as versions {versions:?}");
        Violation::of_many(Guarantee::WrittenOnce, told)
    })
}
