//! Everything that is sealed, sealed anew with the first master key.

use serde::Serialize;
use tokio_postgres::types::Type;

use super::buckets::Registry;
use crate::storage::StorageError;
use crate::storage::prepared::Values;
use crate::storage::seal::Cell;

/// Columns that are sealed, and what their rows are called.
const SEALED: [(&str, &str, &str); 3] = [
    ("storage_bucket", "credentials", "'bucket ' || name"),
    ("storage_key", "secret", "'key ' || id"),
    ("storage_key", "next_secret", "'key ' || id"),
];

/// What was sealed anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rewrapped {
    /// How many values.
    pub rewrapped: usize,
    /// What none of the master keys opens, whichever has sealed it: as `bucket NAME` and `key ID`.
    pub failed: Vec<String>,
}

/// Seals with the first master key what another one has sealed. A value that changes meanwhile stays as it
/// is, and so does one that cannot be opened; one that is cut off can be run again.
///
/// # Errors
/// If the database fails.
pub async fn rewrap(registry: &Registry<'_>) -> Result<Rewrapped, StorageError> {
    let mut done = Rewrapped::default();
    for (table, column, shown) in SEALED {
        let sql = format!(
            "select id, {column}, {shown} from tidegate.{table} where {column} is not null order by id"
        );
        for row in registry.run(&sql, &[]).await? {
            let (id, before): (&str, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
            let cell = Cell { table, id, column };
            let Ok(opened) = registry.keys.open(cell, before) else {
                let name: String = row.try_get(2)?;
                if !done.failed.contains(&name) {
                    done.failed.push(name);
                }
                continue;
            };
            // Asked only now: that the first key has sealed it does not mean that it can be opened.
            if registry.keys.has_sealed(before) {
                continue;
            }
            let after = registry.keys.seal(cell, &opened)?;
            let sql = format!(
                "update tidegate.{table} set {column} = $3 where id = $1 and {column} = $2 returning 1"
            );
            let values: Values<'_> = &[
                (&id, Type::TEXT),
                (&before, Type::BYTEA),
                (&after, Type::BYTEA),
            ];
            done.rewrapped += registry.run(&sql, values).await?.len();
        }
    }
    Ok(done)
}
