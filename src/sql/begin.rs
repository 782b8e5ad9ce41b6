//! How a transaction begins: with what it may do, and where.

use futures_util::future::join;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use tidegate_model::Timeline;

/// The default of sessions, whatever an endpoint's settings have made of it.
const BEGIN_READ: &str = "begin isolation level read committed read only";

/// Refused in recovery.
const BEGIN_WRITE: &str = "begin isolation level read committed read write";

/// Fails except on the primary of a timeline, of eight hexadecimal digits: no text but `0` can be cast to a number. The
/// type of its parameter is stated, so that no value is refused before it is sent, and what follows runs without it.
pub(crate) const GUARD: &str = "select (case left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) \
    when $1::text then '0' else 'not the primary of timeline ' || $1::text end)::int";

/// How a transaction begins.
pub(super) enum Begin<'a> {
    /// Read-only, on any server.
    Read,
    /// Read-write. On any server except the primary of a timeline it fails, what is sent with it fails too, and
    /// the commit rolls back.
    Write {
        /// The timeline, as the guard takes it.
        timeline: &'a str,
        /// [`GUARD`], prepared: one that the server does not have makes the transaction fail.
        guard: Statement,
    },
}

impl Begin<'_> {
    /// Sends it when first polled.
    pub(super) async fn send(&self, client: &Client) -> Result<(), Error> {
        match self {
            Self::Read => client.batch_execute(BEGIN_READ).await,
            Self::Write { timeline, guard } => {
                let arguments: &[&(dyn ToSql + Sync)] = &[timeline];
                let begun = client.batch_execute(BEGIN_WRITE);
                let (begun, guarded) = join(begun, client.query_one(guard, arguments)).await;
                begun.and(guarded.map(drop))
            }
        }
    }
}

/// Begins a write, in one text.
pub(crate) fn begin_on(timeline: Timeline) -> String {
    let guard = GUARD.replace("$1", &format!("'{}'", digits(timeline)));
    format!("{BEGIN_WRITE}; {guard}")
}

/// A timeline as it stands in the names of WAL files.
pub(super) fn digits(Timeline(number): Timeline) -> String {
    format!("{number:08X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_has_the_digits_of_its_wal_files() {
        assert_eq!(digits(Timeline(0x1A)), "0000001A");
        let begin = begin_on(Timeline(1));
        assert!(begin.starts_with("begin isolation level read committed read write; select "));
        assert!(begin.contains("when '00000001'::text then '0'") && !begin.contains('$'));
    }
}
