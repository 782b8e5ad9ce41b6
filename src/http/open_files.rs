//! The limit of open files, of which each connection uses one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files besides client connections: those of the admin listener, pools, monitors, listeners, the runtime.
const OTHERS: u64 = 1024;

/// Raises the soft limit of open files to the hard one, and logs a warning if `connections_max`
/// client connections exceed it.
///
/// Many systems start processes with a soft limit of 1,024 because of `select(2)`, which is not
/// used here.
pub fn raise_open_files(connections_max: usize) {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        Ok(hard)
    });
    match raised {
        Ok(limit) if limit < needed(connections_max) => tracing::warn!(
            limit,
            needed = needed(connections_max),
            connections_max,
            "the limit of open files is too low for connections_max"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

fn needed(connections_max: usize) -> u64 {
    u64::try_from(connections_max)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHERS)
}
