//! The history of a server's timeline, read from the server itself.
//!
//! `TIMELINE_HISTORY` would need a replication connection, which the driver cannot open, so the
//! underlying file is read. If the role may not do that, the switch points are unknown.

use tokio_postgres::{Client, SimpleQueryMessage};

use tidegate_model::{SystemId, Timeline, TimelineHistory};

/// Longest history that is read: about a thousand promotions.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// Reads the history of a timeline above the first; none if the server has no readable one.
///
/// # Errors
///
/// Errors of the server, mainly that the role may not read files.
pub(super) async fn read_lineage(
    client: &Client,
    system: SystemId,
    timeline: Timeline,
) -> Result<Option<TimelineHistory>, tokio_postgres::Error> {
    let sql = format!(
        "select pg_read_file('pg_wal/{:08X}.history', 0, {FILE_BYTES_MAX}, true)",
        timeline.0
    );
    let messages = client.simple_query(&sql).await?;
    let text = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    // A truncated text may end within a position.
    let whole = text.filter(|text| text.len() < FILE_BYTES_MAX);
    Ok(whole.and_then(|text| TimelineHistory::parse(system, timeline, text)))
}
