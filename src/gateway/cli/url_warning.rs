//! What in the URL of a server has no effect, for commands that do not log.

use std::io::Write;

use crate::postgres::Server;

/// Says it on standard error, a line each.
pub(super) fn warn_of_url(server: &Server) {
    for warning in server.warnings() {
        let _unwritable = writeln!(std::io::stderr(), "tidegate: warning: {server}: {warning}");
    }
}
