//! The certificate is renewed while the gateway runs.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tidegate_model::RegionId;
use tidegate_telemetry::names;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::credentials::{CredentialFiles, Credentials};
use super::event::Event;

const EVERY: Duration = Duration::from_secs(1);

/// Reads the set every second and takes over one that counts; the same fault is logged once.
pub(super) async fn renew(
    files: CredentialFiles,
    region: RegionId,
    credentials: Arc<ArcSwap<Credentials>>,
    events: mpsc::Sender<Event>,
) {
    let mut refused = String::new();
    loop {
        show_expiry(&credentials.load());
        sleep(EVERY).await;
        let (files, region) = (files.clone(), region.clone());
        let read = tokio::task::spawn_blocking(move || files.read(&region)).await;
        match read {
            Ok(Ok(read)) => {
                refused.clear();
                let is_new = !read.is_same(&credentials.load());
                credentials.store(Arc::new(read));
                if is_new {
                    tracing::info!("the fleet's certificate was renewed");
                    let _driver_gone = events.send(Event::Renewed).await;
                }
            }
            Ok(Err(error)) => {
                let error = error.to_string();
                if error != refused {
                    tracing::warn!(error, "kept the fleet's certificate");
                    refused = error;
                }
            }
            Err(error) => tracing::error!(%error, "the fleet's certificate was not read"),
        }
    }
}

fn show_expiry(credentials: &Credentials) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let left = credentials.not_after as f64 - now.unwrap_or_default().as_secs_f64();
    metrics::gauge!(names::FLEET_CERTIFICATE_EXPIRES).set(left);
}
