//! Buckets, repositories and keys as this gateway knows them: one immutable value, made anew from the
//! rows every second.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_steering::{AttemptOutcome, Selector, SharedSelector, SteeringSettings};
use tidegate_telemetry::names;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::database::IndexDatabase;
use super::fault::{Fault, FaultKind};
use super::live::{Bucket, Live};
use super::owed::Owed;
use super::registry::{self, RepositoryRow};
use super::statistics::{BucketStatus, status};
use super::{BucketRow, KeyPair, MasterKeys, StorageError, WritePolicy, placement};

/// The latency that is expected of a bucket, and of each one after it a little more, until it is known.
const ESTIMATE: Duration = Duration::from_millis(50);

/// The quantile of the times to the first byte that `read_slo` is about.
const SLO_QUANTILE: f64 = 0.95;

/// What there is.
pub struct Inventory {
    /// All buckets that can be used; others refer to them by index.
    pub(super) buckets: Vec<Arc<Bucket>>,
    pub(super) repositories: Vec<Arc<Repository>>,
    pub(super) keys: HashMap<String, Arc<KeyPair>>,
    /// The ids that clients send of keys that have two secrets.
    pub(super) rotating: Vec<String>,
    /// The latencies and breakers of the buckets.
    pub(super) selector: Arc<SharedSelector>,
    steering: SteeringSettings,
    /// The rows that cannot be used, and why: each is said once.
    broken: HashSet<String>,
}

/// A repository and its members' indices.
pub(super) struct Repository {
    pub(super) row: RepositoryRow,
    pub(super) members: Vec<usize>,
}

impl Inventory {
    /// Returns one without anything.
    pub(super) fn empty(steering: SteeringSettings) -> Self {
        Self {
            buckets: Vec::new(),
            repositories: Vec::new(),
            keys: HashMap::new(),
            rotating: Vec::new(),
            selector: Arc::new(new_selector(&steering, 0)),
            steering,
            broken: HashSet::new(),
        }
    }

    /// Reads the rows. What does not work alone, such as one bucket, is left out and said.
    pub(super) async fn load(
        &self,
        database: &IndexDatabase,
        owed: Owed,
        keys: &MasterKeys,
        file_root: &str,
    ) -> Result<Self, StorageError> {
        let mut broken = HashSet::new();
        let rows = database.read(owed, registry::BUCKETS, &[]).await?.rows;
        let buckets = self.usable(&rows, &mut broken, |row| {
            self.bucket(registry::bucket(keys, row)?, file_root)
        });

        let rows = database.read(owed, registry::REPOSITORIES, &[]).await?.rows;
        let index = |name: &String| buckets.iter().position(|it| it.row.declared.name == *name);
        let repositories = self.usable(&rows, &mut broken, |row| {
            let row = registry::repository(row)?;
            row.check()?;
            let members = row.members.iter().filter_map(index).collect();
            Ok(Arc::new(Repository { row, members }))
        });

        let rows = database.read(owed, registry::KEYS, &[]).await?.rows;
        let pairs = self.usable(&rows, &mut broken, |row| registry::key_pair(keys, row));
        let pairs = pairs.into_iter();
        let keys = pairs.map(|pair| (pair.key_id.clone(), Arc::new(pair)));
        let keys: HashMap<_, _> = keys.collect();
        let rotating = keys.values().filter(|key| key.next_secret.is_some());
        let rotating = rotating.map(|key| key.key_id.clone()).collect();

        let ids = |all: &[Arc<Bucket>]| all.iter().map(|it| it.row.id.clone()).collect::<Vec<_>>();
        let selector = match ids(&buckets) == ids(&self.buckets) {
            true => Arc::clone(&self.selector),
            false => Arc::new(new_selector(&self.steering, buckets.len())),
        };
        Ok(Self {
            buckets,
            repositories,
            keys,
            rotating,
            selector,
            steering: self.steering.clone(),
            broken,
        })
    }

    /// What rows say; without those that cannot be used, which are logged when they begin to be so.
    fn usable<T>(
        &self,
        rows: &[Row],
        broken: &mut HashSet<String>,
        read: impl Fn(&Row) -> Result<T, StorageError>,
    ) -> Vec<T> {
        let usable = |row: &Row| {
            let unusable = |error: StorageError| {
                // The name of a bucket or a repository, or the id that clients send of a key.
                let name: &str = row.try_get(1).unwrap_or_default();
                let said = format!("{name}: {error}");
                if !self.broken.contains(&said) {
                    tracing::error!(name, %error, "a row of the storage inventory cannot be used");
                }
                broken.insert(said);
            };
            read(row).map_err(unusable).ok()
        };
        rows.iter().filter_map(usable).collect()
    }

    /// Returns a bucket as it is now, with what is known of it if it leads to the same place.
    fn bucket(&self, row: BucketRow, file_root: &str) -> Result<Arc<Bucket>, StorageError> {
        let before = self.buckets.iter().find(|it| it.row.id == row.id);
        let same = before.filter(|before| before.leads_to_same_place(&row));
        let live = match same {
            Some(before) => Arc::clone(&before.live),
            None => Arc::new(Live::new(&row, file_root)?),
        };
        live.note(row.held, row.written);
        Ok(Arc::new(Bucket { row, live }))
    }

    /// Returns a repository by the name that clients use.
    pub(super) fn repository(&self, name: &str) -> Option<&Arc<Repository>> {
        self.repositories.iter().find(|it| it.row.name == name)
    }

    /// Returns a repository by its id.
    pub(super) fn repository_of(&self, key: &KeyPair) -> Option<&Arc<Repository>> {
        self.repositories
            .iter()
            .find(|it| it.row.id == key.repository)
    }

    /// Returns the index of a bucket.
    pub(super) fn index_of(&self, id: &str) -> Option<usize> {
        self.buckets.iter().position(|it| it.row.id == id)
    }

    /// Returns the index of a bucket by its name.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.buckets
            .iter()
            .position(|it| it.row.declared.name == name)
    }

    /// Returns the buckets that a write may go to, in the order in which they are tried, and how many
    /// of them must have it.
    pub(super) fn place(&self, repository: &Repository, key: &str, bytes: u64) -> Placement {
        let ranking = self.selector.ranking(Instant::now());
        let (policy, named) = repository.row.policy.for_key(key);
        let views: Vec<_> = repository
            .members
            .iter()
            .map(|&index| self.buckets[index].view(named, &ranking, index))
            .collect();
        let order = placement::order(policy, &views, bytes);
        Placement {
            policy,
            order: order.into_iter().map(|at| repository.members[at]).collect(),
        }
    }
}

impl Inventory {
    /// Notes how an attempt at a bucket has ended.
    pub(super) fn report(&self, bucket: usize, fault: Option<&Fault>, latency: Option<Duration>) {
        let now = Instant::now();
        let attempts = &self.buckets[bucket].live.attempts;
        attempts.add(fault.is_some(), latency, now);
        match fault {
            None => self
                .selector
                .report(bucket, AttemptOutcome::Answered, latency, now),
            Some(fault) if fault.kind == FaultKind::Refused => {
                let name = self.buckets[bucket].name();
                tracing::error!(bucket = name, %fault, "a bucket refuses its credentials");
                self.selector.lose(bucket, now);
            }
            Some(fault) if fault.kind.opens_breaker() => {
                self.selector
                    .report(bucket, AttemptOutcome::Failed, None, now);
            }
            Some(_) => {}
        }
    }

    /// Notes that a request goes on with another bucket.
    pub(super) fn fell_back(&self, bucket: usize, fault: &Fault) {
        self.report(bucket, Some(fault), None);
        let (name, reason) = (self.buckets[bucket].name().to_owned(), fault.kind.as_str());
        tracing::warn!(bucket = name, %fault, "going on with another bucket");
        metrics::counter!(names::STORAGE_FALLBACKS, "bucket" => name, "reason" => reason)
            .increment(1);
    }
}

impl Inventory {
    /// How a bucket is shown.
    pub(super) fn status(&self, bucket: usize, now: Instant) -> BucketStatus {
        let live = &self.buckets[bucket].live;
        status(
            live.silent_probes.load(Ordering::Relaxed),
            live.attempts.last_minute(now),
            self.slow(bucket, now),
            self.read_slo(bucket),
        )
    }

    /// The 95th percentile of a bucket's times to the first byte; the average while too few are known.
    pub(super) fn slow(&self, bucket: usize, now: Instant) -> Duration {
        let hedge = &self.buckets[bucket].live.hedge;
        let slow = hedge.quantile(SLO_QUANTILE, now);
        slow.unwrap_or_else(|| self.selector.latency(bucket))
    }

    /// The shortest time to the first byte that a repository of a bucket wants.
    pub(super) fn read_slo(&self, bucket: usize) -> Option<Duration> {
        let all = self.repositories.iter();
        let of = all.filter(|repository| repository.members.contains(&bucket));
        of.filter_map(|repository| repository.row.policy.read_slo())
            .min()
    }
}

/// Where a write may go.
pub(super) struct Placement {
    pub(super) policy: WritePolicy,
    pub(super) order: Vec<usize>,
}

/// A repository and a bucket by their ids, as statistics name them.
pub(super) fn pair<'a>(
    repository: &'a Repository,
    inventory: &'a Inventory,
    bucket: usize,
) -> (&'a str, &'a str) {
    (&repository.row.id, &inventory.buckets[bucket].row.id)
}

fn new_selector(steering: &SteeringSettings, buckets: usize) -> SharedSelector {
    let now = Instant::now();
    let estimates: Vec<_> = (0..buckets)
        .map(|place| ESTIMATE + Duration::from_millis(1) * u32::try_from(place).unwrap_or_default())
        .collect();
    let selector = Selector::new(steering.clone(), fastrand::u64(..), &estimates, now);
    SharedSelector::new(selector, now)
}
