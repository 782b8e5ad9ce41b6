//! What the requests of each repository did at each bucket since the last batch.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::times::Times;

/// Pairs of a repository and a bucket that are counted; more than any fleet has.
const PAIRS_MAX: usize = 20_000;

/// Counters by repository and bucket.
#[derive(Default)]
pub(in crate::storage) struct Tally(Mutex<Pairs>);

type Pairs = HashMap<String, HashMap<String, Use>>;

/// What requests did.
#[derive(Default)]
struct Use {
    uploaded: u64,
    downloaded: u64,
    size_change: i64,
    requests: u64,
    errors: u64,
    times: Times,
}

/// A row of a batch.
#[derive(Debug, Serialize)]
pub(in crate::storage) struct UseRow {
    repository: String,
    bucket: String,
    uploaded: u64,
    downloaded: u64,
    size_change: i64,
    requests: u64,
    errors: u64,
    timed: u64,
    latency_ms_sum: f64,
    latency_p99_ms: Option<f64>,
}

impl Tally {
    /// Notes an answer of a bucket.
    pub(in crate::storage) fn answered(
        &self,
        (repository, bucket): (&str, &str),
        latency: Option<Duration>,
    ) {
        self.change(repository, bucket, |it| {
            it.requests += 1;
            if let Some(latency) = latency {
                it.times.add(latency);
            }
        });
    }

    /// Notes an attempt that has failed.
    pub(in crate::storage) fn failed(&self, (repository, bucket): (&str, &str)) {
        self.change(repository, bucket, |it| {
            it.requests += 1;
            it.errors += 1;
        });
    }

    /// Notes bytes that a bucket has taken.
    pub(in crate::storage) fn uploaded(&self, (repository, bucket): (&str, &str), bytes: u64) {
        self.change(repository, bucket, |it| it.uploaded += bytes);
        self.resized((repository, bucket), signed(bytes));
    }

    /// Notes bytes that a bucket has given.
    pub(in crate::storage) fn downloaded(&self, (repository, bucket): (&str, &str), bytes: u64) {
        self.change(repository, bucket, |it| it.downloaded += bytes);
    }

    /// Notes that a bucket has more bytes, or fewer.
    pub(in crate::storage) fn resized(&self, (repository, bucket): (&str, &str), bytes: i64) {
        self.change(repository, bucket, |it| it.size_change += bytes);
    }

    /// Notes bytes that were swept. Whose they were is not known any more.
    pub(in crate::storage) fn swept(&self, bucket: &str, bytes: u64) {
        if bytes > 0 {
            self.resized(("", bucket), -signed(bytes));
        }
    }

    /// Takes what has come together.
    pub(in crate::storage) fn take(&self) -> Vec<UseRow> {
        let pairs = std::mem::take(&mut *self.pairs());
        let of_repository = |(repository, buckets): (String, HashMap<String, Use>)| {
            let buckets = buckets.into_iter();
            buckets.map(move |(bucket, used)| used.row(repository.clone(), bucket))
        };
        pairs.into_iter().flat_map(of_repository).collect()
    }

    fn change(&self, repository: &str, bucket: &str, change: impl FnOnce(&mut Use)) {
        let mut pairs = self.pairs();
        let known = pairs.get_mut(repository).and_then(|it| it.get_mut(bucket));
        if let Some(known) = known {
            return change(known);
        }
        if pairs.values().map(HashMap::len).sum::<usize>() < PAIRS_MAX {
            let buckets = pairs.entry(repository.to_owned()).or_default();
            change(buckets.entry(bucket.to_owned()).or_default());
        }
    }

    fn pairs(&self) -> MutexGuard<'_, Pairs> {
        // A panic while the lock is held loses a count at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Use {
    fn row(self, repository: String, bucket: String) -> UseRow {
        UseRow {
            repository,
            bucket,
            uploaded: self.uploaded,
            downloaded: self.downloaded,
            size_change: self.size_change,
            requests: self.requests,
            errors: self.errors,
            timed: self.times.count(),
            latency_ms_sum: self.times.sum_ms(),
            latency_p99_ms: self.times.p99_ms(),
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_a_row_for_each_pair_and_the_next_one_begins_anew() {
        let tally = Tally::default();
        tally.uploaded(("r", "b"), 100);
        tally.answered(("r", "b"), Some(Duration::from_millis(4)));
        tally.failed(("r", "b"));
        tally.downloaded(("r", "c"), 7);
        tally.swept("b", 40);
        tally.swept("b", 0);
        let mut rows = tally.take();
        rows.sort_by(|a, b| (&a.repository, &a.bucket).cmp(&(&b.repository, &b.bucket)));
        let shown: Vec<_> = rows
            .iter()
            .map(|it| {
                (
                    &*it.repository,
                    &*it.bucket,
                    it.size_change,
                    it.requests,
                    it.errors,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("", "b", -40, 0, 0),
                ("r", "b", 100, 2, 1),
                ("r", "c", 0, 0, 0)
            ]
        );
        assert_eq!(rows[1].timed, 1);
        assert!(tally.take().is_empty());
    }
}
