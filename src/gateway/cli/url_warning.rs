//! Warnings about parts of a server's URL that have no effect, for commands that do not log.

use std::io::Write;

use crate::postgres::Server;

/// Prints the warnings to standard error, one per line.
pub(super) fn warn_of_url(server: &Server) {
    for warning in server.warnings() {
        let _unwritable = writeln!(std::io::stderr(), "tidegate: warning: {server}: {warning}");
    }
}
