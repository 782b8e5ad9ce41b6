//! How a server's timeline came about, asked of the server itself.
//!
//! `TIMELINE_HISTORY` would need a replication connection, which the driver cannot open, so the
//! file behind it is read. A role that may not do that leaves the switch points unknown.

use tokio_postgres::{Client, SimpleQueryMessage};

use tidegate_model::{SystemId, Timeline, TimelineHistory};

/// Longest history read: a thousand promotions or so.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// Reads the history of a timeline above the first; none when the server has no readable one.
///
/// # Errors
///
/// The server's, above all that the role may not read files.
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
    // A text that was cut off may end in half a position.
    let whole = text.filter(|text| text.len() < FILE_BYTES_MAX);
    Ok(whole.and_then(|text| TimelineHistory::parse(system, timeline, text)))
}
