//! Everything that is sealed, sealed anew with the first master key.

use tokio_postgres::types::Type;

use super::buckets::Registry;
use crate::storage::StorageError;
use crate::storage::database::Values;
use crate::storage::seal::Cell;

/// Columns that are sealed.
const SEALED: [(&str, &str); 3] = [
    ("storage_bucket", "credentials"),
    ("storage_key", "secret"),
    ("storage_key", "next_secret"),
];

/// Seals with the first master key what another one has sealed; returns how many values that were. A
/// value that changes meanwhile stays as it is, and one that is cut off can be run again.
///
/// # Errors
/// If none of the master keys opens a value.
pub async fn rewrap(registry: &Registry<'_>) -> Result<usize, StorageError> {
    let mut rewrapped = 0;
    for (table, column) in SEALED {
        let sql = format!(
            "select id, {column} from tidegate.{table} where {column} is not null order by id"
        );
        for row in registry.run(&sql, &[]).await? {
            let (id, before): (&str, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
            if registry.keys.has_sealed(before) {
                continue;
            }
            let cell = Cell { table, id, column };
            let after = registry
                .keys
                .seal(cell, &registry.keys.open(cell, before)?)?;
            let sql = format!(
                "update tidegate.{table} set {column} = $3 where id = $1 and {column} = $2 returning 1"
            );
            let values: Values<'_> = &[
                (&id, Type::TEXT),
                (&before, Type::BYTEA),
                (&after, Type::BYTEA),
            ];
            rewrapped += registry.run(&sql, values).await?.len();
        }
    }
    Ok(rewrapped)
}
