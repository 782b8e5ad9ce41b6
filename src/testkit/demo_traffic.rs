//! Clients that read rates in one region, for a rollout to be judged by.

use reqwest::Client;
use tokio::task::JoinSet;

use super::http_client::Request;

/// Enough that a twentieth of their requests can be judged within seconds.
const CLIENTS: usize = 16;

/// Clients that ask one URL again and again, each time as another one, until it is dropped.
pub(super) struct DemoTraffic(#[expect(dead_code, reason = "ends with it")] JoinSet<()>);

impl DemoTraffic {
    /// Starts asking.
    pub(super) fn start(client: &Client, url: &str) -> Self {
        let mut clients = JoinSet::new();
        for index in 0..CLIENTS {
            clients.spawn(ask(client.clone(), url.to_owned(), index));
        }
        Self(clients)
    }
}

/// A level is stated so that a node answers and not the cache.
async fn ask(client: Client, url: String, index: usize) {
    for turn in 0_u64.. {
        let request = Request::get(url.clone()).header("X-Consistency", "eventual");
        let request = request.header("X-Client", format!("{index}-{turn}"));
        // An answer that does not come is the gateway's to count.
        let _ = request.send(&client).await;
    }
}
