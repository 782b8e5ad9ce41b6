//! What one node reports about itself, requested in one statement.
//!
//! The same statement serves primary and replica, since a node may become the other at any time.

use tokio::time::Instant;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::postgres::monitor::facts::Receiver;
use tidegate_model::ServerIdentity;
use tidegate_model::{Lsn, SystemId, Timeline, WalPosition};

/// One answer from one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Taken before the statement was sent.
    pub(super) sent: Instant,
    pub(super) received: Instant,
    pub(super) identity: ServerIdentity,
    pub(super) in_recovery: bool,
    /// The insert LSN, or in recovery the replay LSN.
    pub(super) lsn: Option<Lsn>,
    /// How far replay has come; out of recovery, where it ended.
    pub(super) replayed: Option<Lsn>,
    pub(super) system: Option<SystemId>,
    pub(super) timeline: Option<Timeline>,
    pub(super) receiver: Receiver,
}

impl Sample {
    /// Returns the position, if all its parts could be read.
    pub(super) fn position(&self) -> Option<WalPosition> {
        Some(WalPosition {
            system: self.system?,
            timeline: self.timeline?,
            lsn: self.lsn?,
        })
    }

    /// Keeps the latest timeline that a replica showed in this life: without a WAL receiver, only
    /// the control file's can be read, which may be an earlier one.
    pub(super) fn with_latest_timeline(self, before: Option<&Self>) -> Self {
        let same_life = |before: &&Self| self.in_recovery && before.identity == self.identity;
        let known = before.filter(same_life).and_then(|before| before.timeline);
        Self {
            timeline: self.timeline.max(known),
            ..self
        }
    }

    /// Returns whether a different server answers than before, or the same one after its promotion.
    pub(super) fn succeeds(&self, before: &Self) -> bool {
        !before.identity.is_same_place(&self.identity) || before.in_recovery && !self.in_recovery
    }
}

/// The statement, limited to what the monitor's role may query on this server.
#[derive(Debug)]
pub(super) struct Question {
    sql: String,
    sees_receiver: bool,
}

impl Question {
    /// Determines what may be queried. Privileges are checked when a statement starts, before any
    /// `case` in it can avoid a call; hence the extra round trip when a connection opens.
    pub(super) async fn for_role_of(client: &Client) -> Result<Self, tokio_postgres::Error> {
        const PRIVILEGES: &str = "select \
            has_function_privilege(to_regprocedure('pg_control_system()'), 'execute'), \
            has_function_privilege(to_regprocedure('pg_control_recovery()'), 'execute') \
            and has_function_privilege(to_regprocedure('pg_control_checkpoint()'), 'execute'), \
            pg_has_role(current_user, 'pg_read_all_stats', 'usage')";
        let messages = client.simple_query(PRIVILEGES).await?;
        let row = only_row(&messages);
        let may = |column| row.is_some_and(|row| row.get(column) == Some("t"));
        Ok(Self::new(may(0), may(1), may(2)))
    }

    fn new(sees_system: bool, sees_control: bool, sees_receiver: bool) -> Self {
        let system = match sees_system {
            true => "(select system_identifier from pg_control_system())",
            false => "null",
        };
        // The larger one, because they are written at different times and timelines only grow.
        let replica_timeline = match sees_control {
            true => {
                "greatest((select min_recovery_end_timeline from pg_control_recovery()), \
                 (select timeline_id from pg_control_checkpoint()))"
            }
            false => "null",
        };
        // The control file shows the old timeline for a while after a promotion, the name of the
        // current WAL file does not; but that name is not available in recovery. A promotion may
        // happen between any two calls, so recovery is tested once.
        let sql = format!(
            "select standby, \
             case when standby then pg_last_wal_replay_lsn() \
             else pg_current_wal_insert_lsn() end, \
             case when not standby then pg_walfile_name(pg_current_wal_insert_lsn()) end, \
             {system}, {replica_timeline}, receiver.status, receiver.received_tli, \
             pg_last_wal_replay_lsn(), {identity} \
             from (select pg_is_in_recovery() as standby offset 0) one \
             left join pg_stat_wal_receiver receiver on true",
            identity = ServerIdentity::COLUMNS,
        );
        Self { sql, sees_receiver }
    }

    /// Takes one sample. None if the answer is not in PostgreSQL's form.
    pub(super) async fn ask(
        &self,
        client: &Client,
    ) -> Result<Option<Sample>, tokio_postgres::Error> {
        let sent = Instant::now();
        let messages = client.simple_query(&self.sql).await?;
        let received = Instant::now();
        Ok(only_row(&messages).and_then(|row| self.read(row, sent, received)))
    }

    fn read(&self, row: &SimpleQueryRow, sent: Instant, received: Instant) -> Option<Sample> {
        if row.len() != 11 {
            return None;
        }
        let in_recovery = row.get(0)? == "t";
        let timeline = match in_recovery {
            true => {
                let control = row.get(4).and_then(|number| number.parse().ok());
                let received = row.get(6).and_then(|number| number.parse().ok());
                control.max(received)
            }
            false => row.get(2).and_then(timeline_of_file),
        };
        Some(Sample {
            sent,
            received,
            identity: ServerIdentity::parse(row.get(8), row.get(9), row.get(10))?,
            in_recovery,
            lsn: row.get(1).and_then(|lsn| lsn.parse().ok()),
            replayed: row.get(7).and_then(|lsn| lsn.parse().ok()),
            system: row.get(3).and_then(system),
            timeline: timeline.filter(|&number| number > 0).map(Timeline),
            receiver: self.receiver(row.get(5)),
        })
    }

    fn receiver(&self, status: Option<&str>) -> Receiver {
        match status {
            _ if !self.sees_receiver => Receiver::Unknown,
            Some("streaming") => Receiver::Streaming,
            _ => Receiver::Absent,
        }
    }
}

fn only_row(messages: &[SimpleQueryMessage]) -> Option<&SimpleQueryRow> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

/// SQL shows the unsigned identifier as a signed number.
fn system(number: &str) -> Option<SystemId> {
    number
        .parse::<i64>()
        .ok()
        .map(|number| SystemId(number.cast_unsigned()))
}

/// Reads `00000002000000000000000A`: timeline, then segment.
fn timeline_of_file(name: &str) -> Option<u32> {
    u32::from_str_radix(name.get(..8)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeline_is_in_the_name_of_the_wal_file() {
        assert_eq!(timeline_of_file("0000000A000000000000000B"), Some(10));
        assert_eq!(timeline_of_file("0000"), None);
        assert_eq!(timeline_of_file(""), None);
    }

    #[test]
    fn a_system_identifier_of_the_upper_half_survives_its_sign() {
        assert_eq!(system("-1"), Some(SystemId(u64::MAX)));
        assert_eq!(
            system("7432109876543210987"),
            Some(SystemId(7_432_109_876_543_210_987))
        );
    }

    #[test]
    fn what_may_not_be_asked_is_not_asked() {
        let question = Question::new(false, false, false);
        assert!(!question.sql.contains("pg_control"));
        assert_eq!(question.receiver(Some("streaming")), Receiver::Unknown);
        assert_eq!(question.receiver(None), Receiver::Unknown);
    }

    #[test]
    fn only_a_streaming_receiver_is_live() {
        let question = Question::new(true, true, true);
        assert_eq!(question.receiver(Some("streaming")), Receiver::Streaming);
        assert_eq!(question.receiver(Some("waiting")), Receiver::Absent);
        assert_eq!(question.receiver(None), Receiver::Absent);
    }
}
