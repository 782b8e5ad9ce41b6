//! How the listener of the fleet ends.

use std::time::Duration;

use tokio::time::sleep;

use crate::http::Drain;

/// How the listener ends: it goes on for a while after the drain has begun, in which peers move away.
#[derive(Clone, Debug)]
pub struct FleetDrain {
    /// Begins with the process's drain.
    pub drain: Drain,
    /// How long it goes on from then.
    pub delay: Duration,
}

impl FleetDrain {
    pub(super) async fn over(&self) {
        self.drain.begun().await;
        sleep(self.delay).await;
    }
}
