//! A bucket, and what this gateway has learned about it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_steering::{HedgeDelay, Ranking, Standing};
use tidegate_telemetry::names;
use tokio::time::Instant;

use super::placement::MemberView;
use super::statistics::Attempts;
use super::{BucketBackend, BucketRow, StorageError};

/// A bucket and what this gateway has learned about it.
pub(super) struct Bucket {
    pub(super) row: BucketRow,
    pub(super) live: Arc<Live>,
}

/// What outlives a change of a bucket's limits.
pub(super) struct Live {
    pub(super) backend: BucketBackend,
    pub(super) hedge: HedgeDelay,
    /// What came of attempts.
    pub(super) attempts: Attempts,
    /// Probes in a row that it has not answered.
    pub(super) silent_probes: AtomicU32,
    /// Bytes of bodies that it has taken, and given.
    pub(super) taken: metrics::Counter,
    pub(super) given: metrics::Counter,
    /// What it is late with, if it is a mirror.
    late: Mutex<Option<Late>>,
    held: AtomicU64,
    written: AtomicU64,
}

/// What a mirror is late with.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Late {
    /// Blobs that should have been copied into it, up to 100,000.
    pub(super) blobs: u64,
    /// For how long the oldest of them should have been, in seconds.
    pub(super) seconds: f64,
}

impl Bucket {
    /// Its name in logs and metrics.
    pub(super) fn name(&self) -> &str {
        &self.row.declared.name
    }

    pub(super) fn backend(&self) -> &BucketBackend {
        &self.live.backend
    }

    pub(super) fn leads_to_same_place(&self, row: &BucketRow) -> bool {
        let place = |row: &BucketRow| {
            let declared = &row.declared;
            (
                declared.url.clone(),
                declared.region.clone(),
                declared.provider,
                row.credentials.clone(),
            )
        };
        place(&self.row) == place(row)
    }

    pub(super) fn view(&self, named: &[String], ranking: &Ranking, index: usize) -> MemberView {
        let (standing, rank) = standing(ranking, index);
        MemberView {
            written: self.live.written(),
            soft_limit: self.row.soft_limit(),
            held: self.live.held(),
            quota: self.row.declared.quota,
            writes: self.row.writes,
            healthy: works(standing),
            allowed: named.is_empty() || named.iter().any(|name| name == self.name()),
            rank,
        }
    }
}

impl Live {
    pub(super) fn new(row: &BucketRow, file_root: &str) -> Result<Self, StorageError> {
        let now = Instant::now();
        Ok(Self {
            backend: BucketBackend::new(row, file_root)?,
            hedge: HedgeDelay::new(now),
            attempts: Attempts::new(&row.declared.name, now),
            silent_probes: AtomicU32::default(),
            taken: bytes_counter(row, "in"),
            given: bytes_counter(row, "out"),
            late: Mutex::default(),
            held: AtomicU64::default(),
            written: AtomicU64::default(),
        })
    }

    /// What it is late with, if it is a mirror.
    pub(super) fn late(&self) -> Option<Late> {
        *self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what it is late with.
    pub(super) fn note_late(&self, late: Option<Late>) {
        *self.late.lock().unwrap_or_else(PoisonError::into_inner) = late;
    }

    /// Takes what the database says about its use.
    pub(super) fn note(&self, held: u64, written: u64) {
        self.held.store(held, Ordering::Relaxed);
        self.written.store(written, Ordering::Relaxed);
    }

    /// Bytes stored, reserved and not yet swept.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes written in this month.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Adds bytes that were written since.
    pub(super) fn add_written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Returns a bucket's standing and its place by speed.
pub(super) fn standing(ranking: &Ranking, index: usize) -> (Standing, usize) {
    let mut all = ranking.best_first().iter().enumerate();
    let found = all.find(|(_, ranked)| ranked.candidate == index);
    found.map_or((Standing::Failed, usize::MAX), |(rank, ranked)| {
        (ranked.standing, rank)
    })
}

/// Whether a bucket can be expected to answer.
pub(super) fn works(standing: Standing) -> bool {
    match standing {
        Standing::Trusted | Standing::OnProbation => true,
        // Probes are sent by a task, not by requests.
        Standing::ProbeDue | Standing::Failed | Standing::Drained => false,
    }
}

fn bytes_counter(row: &BucketRow, direction: &'static str) -> metrics::Counter {
    let bucket = row.declared.name.clone();
    metrics::counter!(names::STORAGE_BYTES, "bucket" => bucket, "direction" => direction)
}
