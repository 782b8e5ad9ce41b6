//! The store's rows, as commands see them.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::Row;

use super::StoreError;
use tidegate_model::{RegionId, printable};
use tidegate_rollout::{
    ALIVE, ArmReport, FinishedRollout, GatewayReport, GatewayState, SigningKey, StoredRevision,
};

/// Longest text of others that is shown, in characters: names, notes and reasons.
pub(super) const TEXT_MAX: usize = 1_000;

/// When a rollout began, in microseconds since 1970, whatever is in its row.
pub(super) const STARTED: &str =
    "least(greatest(extract(epoch from started_at) * 1000000, 0), 9e18)::bigint";

/// Age of a row that is no gateway's word: its time has no end, or lies in the future.
const NO_AGE: Duration = Duration::from_secs(1_000_000_000);

/// A revision to be stored.
pub struct NewRevision<'a> {
    /// Its text, checked.
    pub body: &'a str,
    /// The least language that it needs.
    pub language: u32,
    /// Its author.
    pub author: &'a str,
    /// What it is for.
    pub note: &'a str,
    /// Revisions below it are void.
    pub floor: u32,
    /// The fleet's name and the key that signs.
    pub key: Option<(&'a str, &'a SigningKey)>,
}

/// A revision in the list.
#[derive(Clone, Debug, Serialize)]
pub struct ListedRevision {
    /// Its number.
    pub revision: u32,
    /// Its author.
    pub author: String,
    /// What it is for.
    pub note: String,
    /// When it was stored.
    pub created_at: String,
    /// The digest of its text.
    pub sha256: String,
    /// Whether it is signed.
    pub signed: bool,
    /// Revisions below it are void.
    pub floor: u32,
    /// Whether it is in force.
    pub in_force: bool,
}

/// What is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InForceRow {
    /// The rollout that has put it in force.
    #[serde(flatten)]
    pub by: FinishedRollout,
    /// What was in force before.
    pub base: u32,
}

/// A rollout, open or not.
#[derive(Clone, Debug, Serialize)]
pub struct OpenRow {
    /// Its number.
    pub rollout: u64,
    /// `rollout` or `rollback`.
    pub kind: String,
    /// Its revision.
    pub revision: u32,
    /// What was in force before.
    pub base: u32,
    /// Its stage.
    pub stage: String,
    /// The region at work.
    pub region: Option<String>,
    /// The share of its keys, of 10,000.
    pub share: u16,
    /// Whether the bake stands still.
    pub paused: bool,
    /// Who leads it.
    pub by: String,
    /// Since when.
    pub started_at: String,
    /// How it has ended.
    pub outcome: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// A rollout to begin.
pub struct NewRollout<'a> {
    /// The revision.
    pub revision: u32,
    /// The regions in their order.
    pub regions: &'a [String],
    /// How long each stage bakes.
    pub bake: Duration,
    /// Of 10,000 decisions.
    pub blast_radius: u32,
    /// What is judged.
    pub judge: &'a str,
    /// The random id of the leader.
    pub leader: &'a str,
    /// Who begins it.
    pub by: &'a str,
}

/// What a rollback has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyRollback {
    /// It has ended an open rollout: what was in force still is.
    Ended {
        /// The rollout.
        rollout: u64,
        /// What is in force.
        in_force: InForceRow,
    },
    /// An older revision is in force.
    Done {
        /// The open rollout that it has ended.
        ended: Option<u64>,
        /// What is in force.
        in_force: InForceRow,
    },
}

pub(super) fn stored(row: &Row) -> Result<StoredRevision, StoreError> {
    Ok(StoredRevision {
        revision: number(row, 0)?,
        body: row.try_get(1)?,
        sha256: row.try_get(2)?,
        language: number(row, 3)?,
        floor: number(row, 4)?,
        signature: row.try_get(5)?,
    })
}

/// Reads a gateway's row; one that this program cannot read is shown, and not waited for.
pub(super) fn report(row: &Row) -> GatewayReport {
    let text = |column| text(row, column).unwrap_or_default();
    let (state, region) = (text(7), text(1));
    let share = number(row, 6).ok().and_then(|it| u16::try_from(it).ok());
    let age = row.try_get(10).unwrap_or_default();
    // A newer gateway may count what this program does not know.
    let arms = row.try_get::<_, Option<&str>>(9).unwrap_or_default();
    let read = (|| {
        let (rollout, revision) = (long(row, 4).ok()?, number(row, 5).ok()?);
        let language = number(row, 3).ok()?;
        region.parse::<RegionId>().ok()?;
        Some((language, rollout, revision, share?, state.parse().ok()?))
    })();
    let unknown = (0, 0, 0, 0, GatewayState::Unknown);
    let (language, rollout, revision, share, state) = read.unwrap_or(unknown);
    GatewayReport {
        gateway: text(0),
        region,
        version: text(2),
        language,
        rollout,
        revision,
        share,
        state,
        refused: optional_text(row, 8).unwrap_or_default(),
        age: age_of(age),
        arms: arms.map(ArmReport::read).unwrap_or_default(),
    }
}

/// Returns the age of a row. A time that is a little ahead is that of a clock which was set back; beyond that a row would
/// count as a living gateway's until then.
fn age_of(seconds: f64) -> Duration {
    if seconds < -ALIVE.as_secs_f64() {
        return NO_AGE;
    }
    Duration::try_from_secs_f64(f64::max(seconds, 0.0)).unwrap_or(NO_AGE)
}

pub(super) fn listed(row: &Row) -> Result<ListedRevision, StoreError> {
    Ok(ListedRevision {
        revision: number(row, 0)?,
        author: text(row, 1)?,
        note: text(row, 2)?,
        created_at: text(row, 3)?,
        sha256: text(row, 4)?,
        signed: row.try_get(5)?,
        floor: number(row, 6).unwrap_or_default(),
        in_force: row.try_get(7)?,
    })
}

/// Reads the number of a rollout, when it began, and its revision.
pub(super) fn finished(row: &Row) -> Result<FinishedRollout, StoreError> {
    Ok(FinishedRollout {
        rollout: long(row, 0)?,
        started: long(row, 1)?,
        revision: number(row, 2)?,
    })
}

pub(super) fn in_force(row: &Row) -> Result<InForceRow, StoreError> {
    Ok(InForceRow {
        by: finished(row)?,
        base: number(row, 3)?,
    })
}

pub(super) fn open_row(row: &Row) -> Result<OpenRow, StoreError> {
    Ok(OpenRow {
        rollout: long(row, 0)?,
        kind: text(row, 1)?,
        revision: number(row, 2)?,
        base: number(row, 3)?,
        stage: text(row, 4)?,
        region: optional_text(row, 5)?,
        share: number(row, 6)? as u16,
        paused: row.try_get(7)?,
        by: text(row, 8)?,
        started_at: text(row, 9)?,
        outcome: optional_text(row, 10)?,
        reason: optional_text(row, 11)?,
    })
}

/// Reads a text that anyone may have written: all that is shown of the store comes by here.
fn text(row: &Row, column: usize) -> Result<String, StoreError> {
    Ok(optional_text(row, column)?.unwrap_or_default())
}

fn optional_text(row: &Row, column: usize) -> Result<Option<String>, StoreError> {
    let text: Option<&str> = row.try_get(column)?;
    Ok(text.map(printable))
}

pub(super) fn number(row: &Row, column: usize) -> Result<u32, StoreError> {
    let number: i32 = row.try_get(column)?;
    u32::try_from(number).map_err(|error| StoreError::Row(error.to_string()))
}

fn long(row: &Row, column: usize) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|error| StoreError::Row(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_future_is_not_that_of_a_living_gateway() {
        let seconds = Duration::from_secs_f64;
        assert_eq!(age_of(2.5), seconds(2.5));
        assert_eq!(age_of(-30.0), Duration::ZERO);
        for odd in [-30.1, -1e9, f64::NEG_INFINITY, f64::INFINITY, f64::MAX] {
            assert!(age_of(odd) > ALIVE, "{odd}");
        }
    }
}
