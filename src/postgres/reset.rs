//! Undoes what statements may have left in their session.

/// What a read may leave: settings and roles, cursors, channels, advisory locks, the seed of `random`. A
/// read-only transaction creates no temporary table and advances no sequence.
///
/// If it fails, its transaction remains open: no statement that was sent after it is executed. The
/// isolation level is given because a replica refuses one that may have been left behind.
pub(crate) fn reset_after_read() -> String {
    reset("")
}

/// Like [`reset_after_read`], and also undoes what only a write can leave.
pub(crate) fn reset_after_write() -> String {
    reset("discard temp; discard sequences; ")
}

fn reset(first: &str) -> String {
    let seed = fastrand::f64();
    format!(
        "begin isolation level read committed; {first}reset all; close all; unlisten *; \
         set session authorization default; reset role; \
         select pg_catalog.pg_advisory_unlock_all(), pg_catalog.setseed({seed}); commit"
    )
}
