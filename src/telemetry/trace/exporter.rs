//! Sends ended spans to the collector, in a task of its own that no request waits for.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use tidegate_model::error_chain;

use super::otlp::Encoding;
use super::record::SpanRecord;
use super::settings::TraceSettings;
use super::tracer::Tracer;
use crate::{Throttle, names, survive};

/// How long a process that ends waits for the collector.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes that are read of a collector's answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How long the rest of an answer is waited for: the spans are taken, only how many were rejected is in it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause before a batch is sent again; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// The least time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Why nothing can be sent at all.
#[derive(Debug, thiserror::Error)]
#[error("no client for OpenTelemetry's collector: {0}")]
pub struct ExporterError(#[from] reqwest::Error);

/// Why the spans of a batch are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Loss {
    /// The collector cannot be reached, or its answer breaks off; with the cause.
    Unreachable(String),
    /// It answers with an error.
    Refused(StatusCode),
    /// It does not answer in time.
    Timeout,
}

impl Loss {
    fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Refused(_) => "refused",
            Self::Timeout => "timeout",
        }
    }
}

/// The task that sends spans, until it is finished.
#[derive(Debug)]
pub struct Exporter {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Exporter {
    /// Starts the task; the tracer feeds it.
    ///
    /// # Errors
    /// When there is no HTTP client.
    pub fn start(settings: TraceSettings) -> Result<(Arc<Tracer>, Self), ExporterError> {
        let client = Client::builder()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            // What is sent, secrets included, is for the configured URL alone.
            .redirect(redirect::Policy::none())
            .no_proxy();
        let client = match settings.endpoint.scheme() {
            "https" => client,
            // No root is needed, so a system without any is none the worse for it.
            _ => client.tls_certs_only([]),
        };
        let client = client.build()?;
        let (ended, spans) = mpsc::channel(settings.queue_max);
        let tracer = Arc::new(Tracer::new(settings.sampler, ended));
        let (stop, stopped) = watch::channel(false);
        let task = Task {
            encoding: match settings.is_json {
                true => Encoding::Json,
                false => Encoding::Protobuf,
            },
            settings,
            client,
            spans,
            stopped,
            warnings: Throttle::new(WARNING_INTERVAL),
        };
        let task = tokio::spawn(task.run());
        Ok((tracer, Self { task, stop }))
    }

    /// Sends what is left, as far as that takes no longer than five seconds.
    pub async fn finish(mut self) {
        // The task reads it, or has ended.
        let _sent = self.stop.send(true);
        match timeout(FLUSH_TIMEOUT, &mut self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the last spans were not sent: the task that sends them has failed");
            }
            Err(_elapsed) => {
                self.task.abort();
                tracing::warn!(
                    "the last spans were not sent: OpenTelemetry's collector took too long"
                );
            }
        }
    }
}

struct Task {
    settings: TraceSettings,
    encoding: Encoding,
    client: Client,
    spans: mpsc::Receiver<SpanRecord>,
    stopped: watch::Receiver<bool>,
    warnings: Throttle,
}

impl Task {
    async fn run(mut self) {
        loop {
            let mut batch = Vec::new();
            let is_last = self.fill(&mut batch).await;
            if !batch.is_empty() {
                // At worst the batch is lost.
                survive("traces", self.send(&batch)).await;
            }
            if is_last && batch.len() < self.settings.batch_max {
                return;
            }
        }
    }

    /// Waits for a full batch, but no longer than the delay, nor when the process ends; returns whether
    /// it does.
    async fn fill(&mut self, batch: &mut Vec<SpanRecord>) -> bool {
        let batch_max = self.settings.batch_max;
        let until = Instant::now() + self.settings.delay;
        while batch.len() < batch_max {
            let room = batch_max - batch.len();
            tokio::select! {
                biased;
                _ = self.stopped.wait_for(|it| *it) => {
                    self.spans.close();
                    while batch.len() < batch_max && let Ok(span) = self.spans.try_recv() {
                        batch.push(span);
                    }
                    return true;
                }
                more = timeout_at(until, self.spans.recv_many(batch, room)) => match more {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(_elapsed) => return false,
                }
            }
        }
        false
    }

    /// Sends a batch, again where the collector is busy or cannot be reached, until its time is over.
    async fn send(&mut self, batch: &[SpanRecord]) {
        let body = bytes::Bytes::from(self.encoding.request(&self.settings.resource, batch));
        let until = Instant::now() + self.settings.timeout;
        let mut pause = PAUSE_MIN;
        let loss = loop {
            let (loss, wait) = match timeout_at(until, self.attempt(body.clone())).await {
                Ok(Ok(answer)) => return self.take_in(answer, batch.len()).await,
                Ok(Err(failed)) => failed,
                Err(_elapsed) => break Loss::Timeout,
            };
            let wait = match &loss {
                Loss::Refused(status) if !may_be_repeated(*status) => break loss,
                _ => wait.unwrap_or(pause).max(pause),
            };
            // A collector may ask for any wait, also for one beyond every clock.
            let left = until.saturating_duration_since(Instant::now());
            if wait >= left || *self.stopped.borrow() {
                break loss;
            }
            tokio::select! {
                () = sleep(wait) => pause *= 2,
                _ = self.stopped.wait_for(|it| *it) => {}
            }
        };
        let reason = loss.reason();
        let (status, cause) = match loss {
            Loss::Refused(status) => (Some(status.as_u16()), None),
            Loss::Unreachable(cause) => (None, Some(cause)),
            Loss::Timeout => (None, None),
        };
        self.lose(reason, batch.len() as u64, (status, cause));
    }

    /// Counts the spans that the collector did not take. It has the others, whatever becomes of the rest of its
    /// answer.
    async fn take_in(&mut self, answer: Response, sent: usize) {
        let rejected = self.encoding.rejected(&read(answer).await, sent);
        if rejected > 0 {
            self.lose("rejected", rejected, (None, None));
        }
    }

    /// Sends a batch once; returns the answer of a collector that takes it, or why it is lost and how long to
    /// wait at least.
    async fn attempt(&self, body: bytes::Bytes) -> Result<Response, (Loss, Option<Duration>)> {
        let content_type = HeaderValue::from_static(self.encoding.content_type());
        let request = self.client.post(self.settings.endpoint.clone());
        let request = request.headers(self.settings.headers.clone());
        let request = request.header(CONTENT_TYPE, content_type).body(body);
        let answer = request.send().await;
        let answer = answer.map_err(|error| {
            // Its URL may have a secret in it.
            let cause = error_chain::chain(&error.without_url()).to_string();
            (Loss::Unreachable(cause), None)
        })?;
        if !answer.status().is_success() {
            let wait = answer.headers().get(RETRY_AFTER);
            let wait = wait.and_then(|it| it.to_str().ok()?.parse().ok());
            let loss = Loss::Refused(answer.status());
            return Err((loss, wait.map(Duration::from_secs)));
        }
        Ok(answer)
    }

    /// Counts lost spans, and says so from time to time.
    fn lose(
        &mut self,
        reason: &'static str,
        spans: u64,
        (status, cause): (Option<u16>, Option<String>),
    ) {
        metrics::counter!(names::SPANS_DROPPED, "reason" => reason).increment(spans);
        if let Some(suppressed) = self.warnings.pass(Instant::now()) {
            tracing::warn!(
                reason,
                status,
                cause,
                spans,
                suppressed,
                "spans are lost: OpenTelemetry's collector did not take them"
            );
        }
    }
}

/// The statuses after which a request may be sent again, by OTLP's specification.
fn may_be_repeated(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// The start of an answer, as far as it arrives in time.
async fn read(mut answer: Response) -> Vec<u8> {
    let until = Instant::now() + ANSWER_TIMEOUT;
    let mut start = Vec::new();
    while let Ok(Ok(Some(chunk))) = timeout_at(until, answer.chunk()).await {
        let room = ANSWER_BYTES_MAX - start.len();
        start.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if start.len() == ANSWER_BYTES_MAX {
            break;
        }
    }
    start
}
