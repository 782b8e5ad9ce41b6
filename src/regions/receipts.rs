//! Writes receipts: decisions with everything that they were made from, one a line.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_model::settings;
use tidegate_model::values::{FilePath, Share, count_up_to};
use tidegate_telemetry::survive;
use tidegate_traffic::decide::{RegionDecision, RegionReason, Request};
use tidegate_traffic::facts::Facts;
use tidegate_traffic::plan::Plan;
use tidegate_traffic::receipt::Receipt;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::http::REQUESTS_KEPT_MAX;

/// Most receipts that wait to be written; more are dropped.
const WAITING_MAX: usize = 1_024;

settings! {
    /// `[observe]`: what is recorded of decisions and of requests.
    #[derive(Debug, Clone)]
    pub struct ObserveSettings {
        /// The file that receipts of the traffic policy's decisions are appended to: JSON, one a line, for
        /// `tidegate policy replay`. Without one, none are written.
        receipts: String = String::new(), FilePath;
        /// The share of decisions that are recorded.
        receipts_sample: f64 = 0.01, Share,
            low "rare decisions are not recorded.",
            high "the file grows by some hundred bytes a request.";
        /// The last requests that are kept in memory, for
        /// [`/admin/requests/{id}`](operations.md#one-request); 0 for none.
        requests_kept: usize = 10_000, count_up_to(REQUESTS_KEPT_MAX as i64, "requests"),
            low "a request is gone before it can be looked up.",
            high "memory: some hundred bytes each.";
    }
}

/// The file of receipts.
pub struct Receipts {
    sample: f64,
    lines: mpsc::Sender<String>,
    dropped: AtomicBool,
}

impl Receipts {
    /// Opens the file and starts to write; none if there is none to write. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub async fn open(settings: &ObserveSettings) -> io::Result<Option<Self>> {
        let path = &settings.receipts;
        if path.is_empty() {
            return Ok(None);
        }
        let file = ReceiptsFile::open(path).await?;
        let (lines, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write(file, waiting));
        Ok(Some(Self {
            sample: settings.receipts_sample,
            lines,
            dropped: AtomicBool::new(false),
        }))
    }

    /// Records a decision if it is drawn; `reason` is what became of it, `arm` the plan that was used if a
    /// rollout is open.
    pub(super) fn record(
        &self,
        (plan, facts, revision): (&Plan, &Facts, u32),
        request: &Request<'_>,
        decision: &RegionDecision,
        reason: RegionReason,
        arm: Option<&str>,
    ) {
        if fastrand::f64() >= self.sample {
            return;
        }
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let time_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let mut receipt = Receipt::new((time_ms, revision), plan, facts, request, decision);
        receipt.arm = arm.map(str::to_owned);
        reason.as_str().clone_into(&mut receipt.decision.reason);
        let Ok(line) = receipt.line() else { return };
        let is_full = self.lines.try_send(line + "\n").is_err();
        if is_full && !self.dropped.swap(true, Ordering::Relaxed) {
            tracing::warn!("receipts are dropped: they cannot be written as fast as they are made");
        }
    }
}

/// The file, and its name.
struct ReceiptsFile {
    path: String,
    file: File,
}

impl ReceiptsFile {
    async fn open(path: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .await?;
        let path = path.to_owned();
        Ok(Self { path, file })
    }

    /// Appends lines; to a new file if this one was moved away or removed, as log rotation does.
    async fn append(&mut self, lines: &str) -> io::Result<()> {
        let open = self.file.metadata().await?;
        let named = fs::metadata(&self.path).await;
        if !named.is_ok_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino())) {
            *self = Self::open(&self.path).await?;
        }
        self.file.write_all(lines.as_bytes()).await?;
        self.file.flush().await
    }
}

async fn write(mut file: ReceiptsFile, mut waiting: mpsc::Receiver<String>) {
    let mut works = true;
    while let Some(mut lines) = waiting.recv().await {
        while let Ok(line) = waiting.try_recv() {
            lines += &line;
        }
        // After a panic a line may have no end; the next ones come behind it.
        match survive("receipts", file.append(&lines)).await {
            Some(Ok(())) => works = true,
            Some(Err(error)) if works => {
                works = false;
                tracing::warn!(%error, "receipts cannot be written");
            }
            Some(Err(_)) | None => {}
        }
    }
}
