//! The stored answers, and the flights (shared fetches) that fetch new ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use tokio::sync::watch;
use tokio::time::Instant;

use super::application::Variants;
use super::flight::Landing;
use super::key::PathKey;
use super::{CacheKey, CacheSettings, Entry, Follower, Usable};
use tidegate_telemetry::names;

/// The bytes of an entry in addition to its key and its body: the entry itself, its tag, and its
/// slots in the tables of the store.
const OVERHEAD_BYTES: usize = 512;

/// An estimate of the size of an answer, from which the store sizes its list of evicted keys.
const TYPICAL_BYTES: usize = 4 << 10;

/// Shards of the store, each with its own lock, so that requests do not contend for one.
const SHARDS_MAX: usize = 16;

/// Entries that a shard must have room for if all are as large as allowed; otherwise there are
/// fewer shards.
const SHARD_ENTRIES_MIN: usize = 8;

/// Answers of one process by key; bounded by bytes. `O` is where an answer came from, `L` is the
/// result that a flight gives to its followers.
pub struct ResponseCache<O, L> {
    store: Cache<CacheKey, Stored<O>, Weight>,
    /// How often answers were removed by more than their key.
    purges: AtomicU64,
    flights: Mutex<Flights<L>>,
    settings: CacheSettings,
    entries: metrics::Gauge,
    bytes: metrics::Gauge,
    waiting: metrics::Gauge,
}

/// Which requests share a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlightScope {
    /// Those that entered at this gateway: another region may serve them.
    Entered,
    /// Those that another region's gateway has handed on: they are served here.
    HandedOn,
}

/// How a request proceeds for a key that cannot be served from the store.
pub enum Joined<O, L> {
    /// It fetches the answer.
    Leader(Leader<O, L>),
    /// Another request is fetching it.
    Follower(Follower<L>),
    /// Another request has just fetched it.
    Stored(Arc<Entry<O>>),
}

/// What is stored under a key.
enum Stored<O> {
    /// An answer whose policy row says how long it is kept.
    Declared(Arc<Entry<O>>),
    /// The answers of an application that says so itself.
    Application(Arc<Variants>),
}

impl<O> Clone for Stored<O> {
    fn clone(&self) -> Self {
        match self {
            Self::Declared(entry) => Self::Declared(Arc::clone(entry)),
            Self::Application(variants) => Self::Application(Arc::clone(variants)),
        }
    }
}

impl<O> Stored<O> {
    fn declared(self) -> Option<Arc<Entry<O>>> {
        match self {
            Self::Declared(entry) => Some(entry),
            Self::Application(_) => None,
        }
    }
}

/// Counts the bytes that an entry takes.
#[derive(Clone)]
struct Weight;

impl<O> Weighter<CacheKey, Stored<O>> for Weight {
    fn weight(&self, key: &CacheKey, stored: &Stored<O>) -> u64 {
        let bytes = match stored {
            Stored::Declared(entry) => bytes_of(key, entry),
            Stored::Application(variants) => OVERHEAD_BYTES + key.len() + variants.bytes(),
        };
        bytes as u64
    }
}

fn bytes_of<O>(key: &CacheKey, entry: &Entry<O>) -> usize {
    OVERHEAD_BYTES + key.len() + entry.origin_bytes + entry.body.len()
}

impl<O, L> ResponseCache<O, L> {
    /// Makes an empty cache; `None` if the settings turn it off. Memory is allocated as answers are
    /// stored.
    pub fn new(settings: &CacheSettings) -> Option<Self> {
        if settings.bytes_max == 0 {
            return None;
        }
        // With its compressed forms, which take up to its size again.
        let entry_bytes = (2 * settings.entry_bytes_max + OVERHEAD_BYTES) * SHARD_ENTRIES_MIN;
        let options = OptionsBuilder::new()
            .weight_capacity(settings.bytes_max as u64)
            .estimated_items_capacity(settings.bytes_max / TYPICAL_BYTES)
            .shards(floor_power_of_two(settings.bytes_max / entry_bytes))
            .build()
            .expect("the two options that are required are set");
        let hasher = DefaultHashBuilder::default();
        Some(Self {
            store: Cache::with_options(options, Weight, hasher, DefaultLifecycle::default()),
            purges: AtomicU64::new(0),
            flights: Mutex::default(),
            settings: settings.clone(),
            entries: metrics::gauge!(names::CACHE_ENTRIES),
            bytes: metrics::gauge!(names::CACHE_BYTES),
            waiting: metrics::gauge!(names::CACHE_WAITING),
        })
    }

    /// Returns the answer stored under a key.
    pub fn get(&self, key: &CacheKey) -> Option<Arc<Entry<O>>> {
        self.store.get(key)?.declared()
    }

    /// Returns the answers of an application that are stored under a key.
    pub fn variants(&self, key: &CacheKey) -> Option<Arc<Variants>> {
        match self.store.get(key)? {
            Stored::Application(variants) => Some(variants),
            Stored::Declared(_) => None,
        }
    }

    /// Changes the answers of an application that are stored under a key; false if answers were removed by
    /// more than their key since there were `purges`.
    pub fn change_variants(
        &self,
        key: &CacheKey,
        purges: u64,
        change: impl FnOnce(&Variants) -> Variants,
    ) -> bool {
        // Nothing is purged meanwhile, because that takes the same lock.
        let flights = self.flights();
        let is_wanted = self.purges() == purges;
        if is_wanted {
            let changed = change(&self.variants(key).unwrap_or_default());
            if changed.is_empty() {
                self.store.remove(key);
            } else {
                let stored = Stored::Application(Arc::new(changed));
                self.store.insert(key.clone(), stored);
            }
        }
        drop(flights);
        self.measure();
        is_wanted
    }

    /// Removes what is stored under a key.
    pub fn remove_key(&self, key: &CacheKey) {
        self.store.remove(key);
        self.measure();
    }

    /// How often answers were removed by more than their key.
    pub fn purges(&self) -> u64 {
        self.purges.load(Ordering::Acquire)
    }

    /// Returns the most bytes of all answers.
    pub fn bytes_max(&self) -> usize {
        self.settings.bytes_max
    }

    /// Returns the most bytes that the body of an entry may have.
    pub fn entry_bytes_max(&self) -> usize {
        self.settings.entry_bytes_max
    }

    /// Returns the answer stored under a path without parameters; allocates nothing.
    pub fn get_path(&self, revision: u64, path: &str) -> Option<Arc<Entry<O>>> {
        self.store.get(&PathKey { revision, path })?.declared()
    }

    /// Joins the flight for a key, or starts one. `seen` is the stored answer that the caller could
    /// not use: a newer one is returned instead. Requests that must be served here join no flight that
    /// may be handed on, which could wait for them.
    pub fn join(
        self: &Arc<Self>,
        key: &CacheKey,
        scope: FlightScope,
        seen: Option<&Arc<Entry<O>>>,
    ) -> Joined<O, L> {
        let mut flights = self.flights();
        let flight = (key.clone(), scope);
        if let Some(landing) = flights.get(&flight) {
            return Joined::Follower(Follower::new(landing, self.waiting.clone()));
        }
        // A flight may have landed since the caller looked.
        let newer = |entry: &Arc<Entry<O>>| seen.is_none_or(|seen| !Arc::ptr_eq(seen, entry));
        match self.get(key).filter(newer) {
            Some(entry) => Joined::Stored(entry),
            None => Joined::Leader(self.take_off(&mut flights, flight)),
        }
    }

    /// Starts a flight to replace a stored answer, unless another request has done so or already
    /// replaced it.
    pub fn refresh(
        self: &Arc<Self>,
        key: &CacheKey,
        scope: FlightScope,
        stale: &Arc<Entry<O>>,
    ) -> Option<Leader<O, L>> {
        match self.join(key, scope, Some(stale)) {
            Joined::Leader(leader) => Some(leader),
            Joined::Follower(_) | Joined::Stored(_) => None,
        }
    }

    /// Removes every answer whose path starts with a prefix and returns their number. Answers that
    /// are being fetched at the time are not stored, and later requests do not wait for them.
    pub fn purge(&self, path_prefix: &str) -> usize {
        let purged = self.remove(|key| key.path_starts_with(path_prefix));
        self.measure();
        purged
    }

    /// Removes the answers of all table revisions except one.
    pub fn keep_revision(&self, revision: u64) {
        self.remove(|key| key.revision() != revision);
        self.measure();
    }

    /// Stores an answer if its flight is still known. One that is too large ends the one before it, which would
    /// otherwise be served after it.
    fn store(
        &self,
        flight: &Flight,
        landing: &Landing<L>,
        entry: &Arc<Entry<O>>,
        now: Instant,
    ) -> bool {
        if entry.body.len() > self.settings.entry_bytes_max {
            self.forget(flight, landing);
            return false;
        }
        if entry.usable(now) == Usable::No {
            return false;
        }
        let flights = self.flights();
        let known = is_known(&flights, flight, landing);
        if known {
            let stored = Stored::Declared(Arc::clone(entry));
            self.store.insert(flight.0.clone(), stored);
        }
        drop(flights);
        self.measure();
        known
    }

    fn forget(&self, flight: &Flight, landing: &Landing<L>) {
        let flights = self.flights();
        if is_known(&flights, flight, landing) {
            self.store.remove(&flight.0);
        }
        drop(flights);
        self.measure();
    }

    /// Ends a flight, if it has not ended before.
    fn end(&self, flight: &Flight, landing: &Landing<L>) {
        let mut flights = self.flights();
        if is_known(&flights, flight, landing) {
            flights.remove(flight);
        }
    }

    fn take_off(self: &Arc<Self>, flights: &mut Flights<L>, flight: Flight) -> Leader<O, L> {
        let landing = Arc::new(watch::Sender::new(None));
        flights.insert(flight.clone(), Arc::clone(&landing));
        Leader::new(Arc::clone(self), flight, landing)
    }

    fn remove(&self, condemned: impl Fn(&CacheKey) -> bool) -> usize {
        let mut flights = self.flights();
        self.purges.fetch_add(1, Ordering::Release);
        flights.retain(|(key, _), _| !condemned(key));
        // Nothing is stored meanwhile, because that takes the same lock.
        let before = self.store.len();
        self.store.retain(|key, _| !condemned(key));
        before - self.store.len()
    }

    fn measure(&self) {
        self.entries.set(self.store.len() as f64);
        self.bytes.set(self.store.weight() as f64);
    }

    fn flights(&self) -> MutexGuard<'_, Flights<L>> {
        // At worst, a panic while it is held loses a flight, whose leader it also drops.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right and duty to fetch a key, held by one task at a time. If it is dropped without landing,
/// the followers get no answer.
pub struct Leader<O, L> {
    cache: Arc<ResponseCache<O, L>>,
    flight: Flight,
    landing: Landing<L>,
}

impl<O, L> Leader<O, L> {
    fn new(cache: Arc<ResponseCache<O, L>>, flight: Flight, landing: Landing<L>) -> Self {
        Self {
            cache,
            flight,
            landing,
        }
    }

    /// Returns a way to wait for the landing, for the request that leads.
    pub fn follower(&self) -> Follower<L> {
        Follower::new(&self.landing, metrics::Gauge::noop())
    }

    /// Stores an answer. Returns false if it is not stored: it is too large or too old, or the path
    /// was purged while it was being fetched.
    pub fn store(&self, entry: &Arc<Entry<O>>, now: Instant) -> bool {
        self.cache.store(&self.flight, &self.landing, entry, now)
    }

    /// Removes the stored answer, because the resource no longer exists.
    pub fn forget(&self) {
        self.cache.forget(&self.flight, &self.landing);
    }

    /// Ends the flight and wakes the followers.
    pub fn end_with(self, landing: L) {
        // Removed before they are woken: a request that arrives now uses the store, not this
        // flight.
        self.cache.end(&self.flight, &self.landing);
        self.landing.send_replace(Some(landing));
    }
}

impl<O, L> Drop for Leader<O, L> {
    fn drop(&mut self) {
        self.cache.end(&self.flight, &self.landing);
    }
}

type Flight = (CacheKey, FlightScope);

type Flights<L> = HashMap<Flight, Landing<L>>;

fn is_known<L>(flights: &Flights<L>, flight: &Flight, landing: &Landing<L>) -> bool {
    flights
        .get(flight)
        .is_some_and(|known| Arc::ptr_eq(known, landing))
}

fn floor_power_of_two(number: usize) -> usize {
    let number = number.clamp(1, SHARDS_MAX);
    1 << number.ilog2()
}

#[cfg(test)]
mod tests;
