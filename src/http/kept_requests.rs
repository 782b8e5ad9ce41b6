//! The last requests of this process, to be looked up by their id.
//!
//! Each slot has a lock of its own, so that requests that end at the same time do not wait for each other. A thread
//! takes several slots at a time, so that requests do not all change the number of the next one.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::account::{AccountView, Routed, Timing};
use super::cache_status::{CacheResult, CacheStatus};
use super::problem_kind::ProblemKind;
use tidegate_model::{Level, RegionId};
use tidegate_policy::Reason;
use tidegate_telemetry::trace::{SpanId, TraceId};
use tidegate_telemetry::{STRIPES, stripe_of_this_thread};

/// Most requests that may be kept: 16 MiB.
pub const REQUESTS_KEPT_MAX: usize = 25_000;

/// Most slots that a thread takes at a time: until it has used them, they keep older requests.
const RUN_MAX: usize = 16;

/// What is known of a request that was answered. Nothing in it is a value that a client has sent, but the id.
#[derive(Debug, Clone)]
pub struct KeptRequest {
    /// Its id: 64 bytes at most, copied out of the request's buffer.
    pub id: Box<str>,
    /// The trace that it belongs to.
    pub trace: Option<TraceId>,
    /// Its span, if it is recorded.
    pub span: Option<SpanId>,
    /// When its answer was ready.
    pub at: SystemTime,
    /// Its method.
    pub method: &'static str,
    /// The template of its path.
    pub endpoint: Arc<str>,
    /// The status of its answer.
    pub status: u16,
    /// The type of the problem that was answered.
    pub problem: Option<ProblemKind>,
    /// The region that has handed it on.
    pub via: Option<RegionId>,
    /// The effective level.
    pub level: Option<Level>,
    /// The node that served it.
    pub node: Option<Arc<str>>,
    /// The upstream that the node belongs to.
    pub upstream: Option<Arc<str>>,
    /// Why the node was chosen.
    pub reason: Option<Reason>,
    /// Upper bound of the age of the data.
    pub staleness: Option<Duration>,
    /// What the response cache did.
    pub cache: Option<CacheResult>,
    /// Where the traffic policy sent it.
    pub routed: Option<Routed>,
    /// Where the time went.
    pub timing: Timing,
    /// How long it took.
    pub took: Duration,
}

impl Default for KeptRequest {
    fn default() -> Self {
        Self {
            id: Box::default(),
            trace: None,
            span: None,
            at: SystemTime::UNIX_EPOCH,
            method: "",
            endpoint: Arc::default(),
            status: 0,
            problem: None,
            via: None,
            level: None,
            node: None,
            upstream: None,
            reason: None,
            staleness: None,
            cache: None,
            routed: None,
            timing: Timing::default(),
            took: Duration::ZERO,
        }
    }
}

impl KeptRequest {
    /// Takes over what is known of its answer.
    pub(super) fn describe(&mut self, account: &AccountView<'_>) {
        let served = account.served;
        self.level = account.level();
        self.node = served.map(|served| Arc::clone(&served.node));
        self.upstream = served.and_then(|served| served.upstream.clone());
        self.reason = served.and_then(|served| served.reason);
        self.staleness = account.staleness;
        self.cache = account.cache.map(CacheStatus::result);
        self.routed = account.routed.cloned();
        self.timing = account.timing.unwrap_or_default();
    }
}

type Slot = Mutex<Option<Box<KeptRequest>>>;

/// The last requests.
pub struct KeptRequests {
    slots: Box<[Slot]>,
    next: AtomicUsize,
    runs: [Run; STRIPES],
}

/// The slots that a thread has taken and not used, counted on beyond the last one. On cache lines of its own; two,
/// because they are fetched in pairs.
#[repr(align(128))]
#[derive(Default)]
struct Run(Mutex<Range<usize>>);

impl KeptRequests {
    /// Keeps so many; `None` if that is none.
    #[must_use]
    pub fn new(most: usize) -> Option<Self> {
        let slots: Box<[Slot]> = (0..most).map(|_| Slot::default()).collect();
        (most > 0).then(|| Self {
            slots,
            next: AtomicUsize::new(0),
            runs: std::array::from_fn(|_| Run::default()),
        })
    }

    /// Keeps one in the place of the oldest, or of one not much newer.
    pub(super) fn keep(&self, request: KeptRequest) {
        let at = self.take_slot() % self.slots.len();
        let mut newest = Some(Box::new(request));
        {
            // A panic while the lock is held loses a request at worst.
            let mut slot = self.slots[at]
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *slot, &mut newest);
        }
        // The oldest is dropped here, without the lock.
    }

    /// Takes a slot out of the run of this thread.
    fn take_slot(&self) -> usize {
        // A panic while the lock is held cannot leave half a range.
        let run = &self.runs[stripe_of_this_thread()].0;
        let mut run = run.lock().unwrap_or_else(PoisonError::into_inner);
        run.next().unwrap_or_else(|| {
            let length = (self.slots.len() / STRIPES).clamp(1, RUN_MAX);
            let first = self.next.fetch_add(length, Ordering::Relaxed);
            *run = first + 1..first + length;
            first
        })
    }

    /// Finds the newest with an id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<KeptRequest> {
        let found = self.slots.iter().filter_map(|slot| {
            let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let found = slot.as_ref().filter(|kept| *kept.id == *id)?;
            Some(KeptRequest::clone(found))
        });
        found.max_by_key(|kept| kept.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, status: u16) -> KeptRequest {
        KeptRequest {
            id: id.into(),
            status,
            ..KeptRequest::default()
        }
    }

    #[test]
    fn the_newest_of_an_id_is_found_and_the_oldest_make_room() {
        let kept = KeptRequests::new(3).unwrap();
        let status = |id: &str| kept.find(id).map(|it| it.status);
        assert_eq!(status("a"), None);
        kept.keep(request("a", 200));
        kept.keep(request("a", 404));
        assert_eq!(status("a"), Some(404));
        for id in ["b", "c", "d"] {
            kept.keep(request(id, 200));
        }
        assert_eq!(
            (status("a"), status("b"), status("d")),
            (None, Some(200), Some(200))
        );
        assert!(KeptRequests::new(0).is_none());
    }

    #[test]
    fn of_requests_of_many_threads_the_last_ones_are_kept() {
        let kept = KeptRequests::new(20 * RUN_MAX * STRIPES).unwrap();
        let all = kept.slots.len();
        for round in ["old", "new"] {
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let kept = &kept;
                    scope.spawn(move || {
                        for number in 0..all / 4 {
                            kept.keep(request(&format!("{round}-{thread}-{number}"), 200));
                        }
                    });
                }
            });
        }
        let ids = kept.slots.iter().map(|slot| {
            let slot = slot.lock().unwrap();
            slot.as_ref().map(|it| it.id.clone()).unwrap_or_default()
        });
        let ids: Vec<_> = ids.collect();
        let new = ids.iter().filter(|id| id.starts_with("new-")).count();
        assert!(new >= all - 4 * RUN_MAX, "{new} of {all}");
        assert_eq!(kept.find("new-3-17").unwrap().status, 200);
    }

    #[test]
    fn all_that_may_be_kept_takes_16_mib_at_most() {
        /// The longest id, and texts of a node of another region that nothing else holds.
        const TEXTS: usize = 64 + 3 * 64;
        let one = size_of::<Slot>() + size_of::<KeptRequest>() + TEXTS;
        assert!(one * REQUESTS_KEPT_MAX <= 16 << 20, "{one} bytes each");
    }
}
