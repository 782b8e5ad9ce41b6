//! Where statements are sent, for spans.

use std::sync::Arc;

use crate::postgres::Server;

/// Where statements are sent, as spans have it.
#[derive(Debug, Clone)]
pub(super) struct DatabaseAddress {
    pub(super) database: Arc<str>,
    pub(super) host: Arc<str>,
    pub(super) port: u16,
}

impl From<&Server> for DatabaseAddress {
    fn from(server: &Server) -> Self {
        Self {
            database: server.database().into(),
            host: server.host().into(),
            port: server.port(),
        }
    }
}
