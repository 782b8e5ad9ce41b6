//! Active checks: a GET every few seconds that shows which nodes work, and how far away they are.

use std::sync::Weak;

use http::header::ACCEPT;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Either, Empty, LengthLimitError, Limited};
use tokio::time::{Duration, Instant, sleep, timeout};

use tower::BoxError;

use super::CheckConfig;
use super::Upstream;
use tidegate_model::error_chain;
use tidegate_steering::AttemptOutcome;

/// The part of every pause that is random, so that gateways do not check in step.
const JITTER: f64 = 0.2;

/// Most bytes that are read from a check's answer.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Checks one node until the upstream is gone.
pub(super) async fn check(upstream: Weak<Upstream>, node: usize, config: CheckConfig) {
    let mut worked = true;
    loop {
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        // A node that has failed is checked too: this probes it, not a request.
        let _probes = upstream.balance().claim_probe(node);
        let started = Instant::now();
        let result = timeout(config.interval, ask(&upstream, node, &config)).await;
        let result = result.unwrap_or_else(|_elapsed| Err("it does not answer in time".to_owned()));
        let latency = started.elapsed();
        let (outcome, latency) = match result {
            Ok(()) => {
                upstream.balance().heard(node);
                (AttemptOutcome::Answered, Some(latency))
            }
            Err(_) => (AttemptOutcome::Failed, None),
        };
        upstream.balance().report(node, outcome, latency);
        if worked != result.is_ok() {
            worked = result.is_ok();
            tell(&upstream, node, result.err().as_deref());
        }
        drop(upstream);
        sleep(pause(config.interval, fastrand::f64())).await;
    }
}

async fn ask(upstream: &Upstream, node: usize, config: &CheckConfig) -> Result<(), String> {
    let path = &config.path;
    let request = || {
        let mut request = Request::new(Either::Left(Empty::new()));
        *request.uri_mut() = upstream.nodes()[node].url(path.path(), path.query());
        let any = HeaderValue::from_static("*/*");
        request.headers_mut().insert(ACCEPT, any);
        request
    };
    let asked = async {
        let answer = upstream.client(node).send(request, || true).await?;
        let (head, body) = answer.into_parts();
        // After the body is read to its end, the connection can serve the next request.
        match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Err(error) if !error.is::<LengthLimitError>() => Err(error),
            _ => Ok::<_, BoxError>(head.status),
        }
    };
    match asked.await {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(format!("its check returned {status}")),
        Err(error) => Err(error_chain::first(&*error).to_string()),
    }
}

fn tell(upstream: &Upstream, node: usize, error: Option<&str>) {
    let (upstream, node) = (upstream.name(), &upstream.nodes()[node].name);
    match error {
        None => tracing::info!(upstream, node, "a node works again"),
        Some(error) => tracing::warn!(upstream, node, error, "a node failed its check"),
    }
}

/// `random` is from 0 to 1.
fn pause(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(1.0 - JITTER * random)
}
