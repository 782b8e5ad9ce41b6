//! How fast a bucket is: the operations that reads and writes consist of, on small objects.

use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::BucketBackend;
use super::fault::Fault;
use super::object_name::trial_id;

/// Requests of each kind, one after the other: enough that the slowest is close to the 99th percentile.
const REQUESTS: usize = 50;
const BYTES: usize = 4 << 10;

/// Times of one kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    #[serde(rename = "p50Ms", serialize_with = "milliseconds")]
    pub p50: Duration,
    /// The 99th percentile.
    #[serde(rename = "p99Ms", serialize_with = "milliseconds")]
    pub p99: Duration,
}

/// What was measured of a bucket.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Measured {
    /// Asking for an object's size.
    pub head: Percentiles,
    /// Storing 4 KiB.
    pub put: Percentiles,
    /// Reading them.
    pub get: Percentiles,
    /// Deleting them.
    pub delete: Percentiles,
}

/// Sends 50 requests of each kind, and leaves nothing in the bucket.
///
/// # Errors
/// The first request that fails.
pub async fn measure(backend: &BucketBackend) -> Result<Measured, Fault> {
    let trial = trial_id();
    let ids: Vec<_> = (0..REQUESTS).map(|at| format!("{trial}-{at}")).collect();
    let measured = measured(backend, &ids).await;
    if measured.is_err() {
        for id in &ids {
            let _deleted_as_far_as_it_works = backend.delete(id).await;
        }
    }
    measured
}

async fn measured(backend: &BucketBackend, ids: &[String]) -> Result<Measured, Fault> {
    const BODY: &[u8] = &[b't'; BYTES];
    let body = || vec![Bytes::from_static(BODY)];
    Ok(Measured {
        put: timed(ids, async |id| backend.put(id, body()).await).await?,
        head: timed(ids, async |id| backend.head(id).await.map(drop)).await?,
        get: timed(ids, async |id| backend.comes_back(id, BODY).await).await?,
        delete: timed(ids, async |id| backend.delete(id).await).await?,
    })
}

async fn timed(
    ids: &[String],
    request: impl AsyncFn(&str) -> Result<(), Fault>,
) -> Result<Percentiles, Fault> {
    let mut times = Vec::with_capacity(ids.len());
    for id in ids {
        let started = Instant::now();
        request(id).await?;
        times.push(started.elapsed());
    }
    Ok(Percentiles::of(times))
}

impl Percentiles {
    /// By the nearest rank.
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let rank = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100);
            times
                .get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Self {
            p50: rank(50),
            p99: rank(99),
        }
    }
}

fn milliseconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    // To the microsecond, which is more than a network repeats.
    let whole = (time.as_secs_f64() * 1_000_000.0).round();
    to.serialize_f64(whole / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let times = (1..=50).rev().map(Duration::from_millis).collect();
        let percentiles = Percentiles::of(times);
        assert_eq!(percentiles.p50, Duration::from_millis(25));
        assert_eq!(percentiles.p99, Duration::from_millis(50));
    }
}
