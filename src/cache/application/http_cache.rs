//! The stored answers of applications, and the requests that fetch new ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tidegate_policy::http_cache::{ReuseTerms, Selection};
use tokio::time::Instant;

use super::answer::bytes_of;
use super::{StoredAnswer, Variants};
use crate::cache::{AnswerCache, CacheKey};
use crate::http::{CompressedForms, Compression, Served};

/// Most bytes of an answer's fields: an application with more is not cached.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Most variants of one URL, in entries of the largest size.
const VARIANTS_SIZE_MAX: usize = 4;
/// The part of the cache's memory that answers may take while they arrive.
const ARRIVING_SHARE: usize = 4;

/// The answers of applications, in the store of all answers.
pub struct HttpCache {
    store: Arc<AnswerCache>,
    compression: Arc<Compression>,
    /// By key: whether what the requests under way will bring is still wanted, and their number.
    under_way: Mutex<HashMap<CacheKey, (Arc<AtomicBool>, usize)>>,
    /// Bytes of answers that are arriving.
    arriving: AtomicUsize,
}

/// The head of an answer that is stored once its body has arrived.
pub struct Recorded {
    /// Its status.
    pub status: StatusCode,
    /// The fields that are kept.
    pub headers: HeaderMap,
    /// On what terms.
    pub terms: ReuseTerms,
    /// For which requests.
    pub selection: Selection,
    /// What has served it.
    pub served: Option<Served>,
}

/// What is stored that an answer takes the place of.
pub enum Replaced {
    /// Nothing.
    Nothing,
    /// One answer.
    One(Arc<StoredAnswer>),
    /// All answers for the URL: it does not vary.
    All,
}

/// A request under way, whose answer may be stored. Dropped when it has ended.
pub struct Storing {
    cache: Arc<HttpCache>,
    key: CacheKey,
    outdated: Arc<AtomicBool>,
    purges: u64,
    asked_at: Instant,
}

impl HttpCache {
    /// Keeps answers in a store.
    pub fn new(store: Arc<AnswerCache>, compression: Arc<Compression>) -> Self {
        Self {
            store,
            compression,
            under_way: Mutex::default(),
            arriving: AtomicUsize::new(0),
        }
    }

    /// The newest answer for a request.
    pub fn find(&self, key: &CacheKey, request: &HeaderMap) -> Option<Arc<StoredAnswer>> {
        self.store.variants(key)?.find(request).map(Arc::clone)
    }

    /// Begins a request whose answer may be stored.
    pub fn begin(self: &Arc<Self>, key: &CacheKey) -> Storing {
        let mut under_way = self.under_way();
        let (outdated, count) = under_way.entry(key.clone()).or_default();
        *count += 1;
        Storing {
            cache: Arc::clone(self),
            key: key.clone(),
            outdated: Arc::clone(outdated),
            purges: self.store.purges(),
            asked_at: Instant::now(),
        }
    }

    /// Forgets the answers for a URL. Those that are being fetched are not stored.
    pub fn invalidate(&self, key: &CacheKey) {
        let mut under_way = self.under_way();
        if let Some((outdated, _)) = under_way.remove(key) {
            outdated.store(true, Ordering::Relaxed);
        }
        self.store.remove_key(key);
    }

    /// Most bytes of an answer's body.
    pub fn entry_bytes_max(&self) -> usize {
        self.store.entry_bytes_max()
    }

    /// Takes room for bytes that have arrived; false if there is none.
    pub(super) fn take_room(&self, bytes: usize) -> bool {
        let most = self.store.bytes_max() / ARRIVING_SHARE;
        let took = self
            .arriving
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arriving| {
                arriving.checked_add(bytes).filter(|sum| *sum <= most)
            });
        took.is_ok()
    }

    /// Gives room back.
    pub(super) fn give_room(&self, bytes: usize) {
        self.arriving.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<CacheKey, (Arc<AtomicBool>, usize)>> {
        // At worst, a panic while it is held leaves a number too high.
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storing {
    /// The cache that it is for.
    pub(super) fn cache(&self) -> &HttpCache {
        &self.cache
    }

    /// Whether an answer with this head, and a body of so many bytes, is not too large.
    pub fn admits(&self, head: &Recorded, bytes: u64) -> bool {
        bytes <= self.cache.entry_bytes_max() as u64 && bytes_of(&head.headers) <= HEADER_BYTES_MAX
    }

    /// Stores an answer, unless it was invalidated or purged in the meantime, or is too large.
    pub fn store(&self, recorded: Recorded, body: Bytes) -> Option<Arc<StoredAnswer>> {
        self.store_with(recorded, body, Arc::default())
    }

    /// Stores an answer with the fields that confirm another, with its body and that body's forms.
    pub fn renew(&self, recorded: Recorded, stored: &StoredAnswer) -> Option<Arc<StoredAnswer>> {
        self.store_with(recorded, stored.body.clone(), Arc::clone(&stored.forms))
    }

    fn store_with(
        &self,
        recorded: Recorded,
        body: Bytes,
        forms: Arc<CompressedForms>,
    ) -> Option<Arc<StoredAnswer>> {
        if !self.admits(&recorded, body.len() as u64) {
            return None;
        }
        let Recorded {
            status,
            headers,
            terms,
            selection,
            served,
        } = recorded;
        let room = self.cache.compression.room(status, &headers, &body);
        let content = (status, headers, body);
        let mut answer = StoredAnswer::new(content, (terms, selection), served, self.asked_at);
        answer.room = room;
        answer.forms = forms;
        let answer = Arc::new(answer);
        let most = VARIANTS_SIZE_MAX * self.cache.entry_bytes_max();
        self.change(|known| known.with(&answer, most))
            .then_some(answer)
    }

    /// Forgets one answer, which no longer holds.
    pub fn forget(&self, answer: &Arc<StoredAnswer>) {
        self.change(|known| known.without(answer));
    }

    /// Forgets what another answer takes the place of.
    pub fn forget_replaced(&self, replaced: &Replaced) {
        match replaced {
            Replaced::Nothing => {}
            Replaced::One(answer) => self.forget(answer),
            Replaced::All => {
                self.change(|_| Variants::default());
            }
        }
    }

    /// Changes what is stored; false if that is no longer wanted.
    fn change(&self, change: impl FnOnce(&Variants) -> Variants) -> bool {
        // Nothing is invalidated meanwhile, because that takes the same lock.
        let under_way = self.cache.under_way();
        let store = &self.cache.store;
        let has_changed = !self.outdated.load(Ordering::Relaxed)
            && store.change_variants(&self.key, self.purges, change);
        drop(under_way);
        has_changed
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        let mut under_way = self.cache.under_way();
        if let Some((outdated, count)) = under_way.get_mut(&self.key)
            && Arc::ptr_eq(outdated, &self.outdated)
        {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.key);
            }
        }
    }
}
