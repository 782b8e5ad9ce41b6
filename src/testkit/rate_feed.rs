//! The market: exchange rates on the primary that change every second.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_postgres::Client;

use super::postgres_server::PostgresServer;

const PERIOD: Duration = Duration::from_secs(1);

/// A random walk of at most 0.1 % a step.
const STEP: &str = "update rates \
    set rate = trim_scale(round(rate * (0.999 + 0.002 * random())::numeric, 8)), as_of = now()";

/// A task that updates rates until it is dropped.
pub(super) struct RateFeed(JoinHandle<()>);

impl RateFeed {
    /// Changes them at least once, then every second.
    pub(super) async fn start(primary: &PostgresServer) -> Result<Self> {
        let client = primary.client().await?;
        client
            .batch_execute(STEP)
            .await
            .context("cannot update the rates")?;
        Ok(Self(tokio::spawn(follow(client))))
    }
}

impl Drop for RateFeed {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends with its connection: without the demo's primary no rates are needed.
async fn follow(client: Client) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while client.batch_execute(STEP).await.is_ok() {
        ticks.tick().await;
    }
}
