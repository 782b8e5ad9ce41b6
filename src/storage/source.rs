//! Where the bytes of a blob come from: which copies are tried, and which gives its first bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_steering::{Race, RaceEvent, Turn};
use tokio::time::Instant;

use super::attempt::{Download, within_stream};
use super::fault::{Fault, FaultKind};
use super::index::{Blob, StoredCopy};
use super::inventory::{Inventory, Repository, pair};
use super::live::{standing, works};
use super::object_name::{ObjectName, VendorObject};
use super::policy::ReadPolicy;
use super::read_plan::{self, CopyView};
use super::store::Store;

/// What is read.
pub(super) struct Source {
    pub(super) store: Arc<Store>,
    pub(super) inventory: Arc<Inventory>,
    pub(super) repository: Arc<Repository>,
    /// The one bucket that the client has named, if it has.
    pub(super) only: Option<usize>,
}

/// A copy by its bucket and its key there.
#[derive(Debug, Clone)]
pub(super) struct CopyAt {
    pub(super) bucket: usize,
    pub(super) id: String,
    pub(super) is_suspect: bool,
    /// What its object must have.
    pub(super) bytes: u64,
    pub(super) vendor: Option<VendorObject>,
}

/// A copy that has given its first bytes.
pub(super) struct Opened {
    pub(super) from: CopyAt,
    pub(super) first: Bytes,
    pub(super) download: Download,
    pub(super) left: VecDeque<CopyAt>,
}

impl Source {
    /// The copies of a blob that are suspect: the last resort of a read whose bytes are compared.
    pub(super) fn suspects(&self, blob: &Blob) -> Vec<CopyAt> {
        let copies = blob.copies.iter();
        let copies = copies.filter_map(|copy| self.at(copy, blob.size));
        let suspects = copies.filter(|copy| copy.is_suspect);
        suspects.collect()
    }

    /// Where a copy is, if the client may read it there.
    fn at(&self, copy: &StoredCopy, bytes: u64) -> Option<CopyAt> {
        let bucket = self.inventory.index_of(&copy.bucket)?;
        let is_wanted = self.only.is_none_or(|only| only == bucket);
        is_wanted.then(|| CopyAt {
            bucket,
            id: copy.id.clone(),
            is_suspect: copy.is_suspect || self.store.distrusted.has(&copy.id, Instant::now()),
            bytes,
            vendor: copy.vendor.clone(),
        })
    }

    /// The good copies of a blob, in the order in which they are tried.
    pub(super) fn order(&self, blob: &Blob) -> VecDeque<CopyAt> {
        let now = Instant::now();
        let ranking = self.inventory.selector.ranking(now);
        let good = blob.good().filter_map(|copy| self.at(copy, blob.size));
        let copies = trusted(good.collect());
        let view = |copy: &CopyAt| {
            let (standing, rank) = standing(&ranking, copy.bucket);
            let latency = self.inventory.selector.latency(copy.bucket);
            let slo = self.repository.row.policy.read_slo();
            let mut members = self.repository.members.iter();
            let bucket = &self.inventory.buckets[copy.bucket];
            let slow = self.inventory.slow(copy.bucket, now);
            CopyView {
                position: members.position(|&it| it == copy.bucket),
                rank,
                healthy: works(standing),
                latency,
                over_slo: slo.is_some_and(|slo| slow > slo),
                price: bucket.row.declared.price_out.unwrap_or_default(),
            }
        };
        let views: Vec<_> = copies.iter().map(view).collect();
        let policy = match self.only {
            Some(_) => ReadPolicy::Order,
            None => self.repository.row.policy.read,
        };
        let order = read_plan::order(policy, &views).into_iter();
        order.map(|at| copies[at].clone()).collect()
    }

    /// The first copy in the order of reads whose bucket works: its bucket and its key there. Of imported
    /// copies none, which a client could not be shown on condition that they are the same.
    pub(super) fn first_that_works(&self, blob: &Blob) -> Option<(usize, String)> {
        let ranking = self.inventory.selector.ranking(Instant::now());
        let mut copies = self.order(blob).into_iter();
        let found =
            copies.find(|copy| copy.vendor.is_none() && works(standing(&ranking, copy.bucket).0));
        found.map(|copy| (copy.bucket, copy.id))
    }

    /// Opens one of some copies: the first that gives its first bytes.
    pub(super) async fn first_of(
        &self,
        mut copies: VecDeque<CopyAt>,
        range: &Range<u64>,
    ) -> Result<Opened, Fault> {
        let mut failed = Fault {
            kind: FaultKind::Absent,
            detail: "there is no copy".to_owned(),
        };
        let mut race = Race::default();
        let mut entered = Vec::new();
        let mut turn = Turn::First;
        loop {
            if race.entrants().is_empty() {
                let Some(copy) = copies.pop_front() else {
                    return Err(failed);
                };
                let hedge = self.inventory.buckets[copy.bucket].live.hedge.get();
                // Not before the objective is missed, which the bucket's times would otherwise never show.
                let objective = self.repository.row.policy.read_slo();
                let hedge = hedge.max(objective.unwrap_or_default());
                race.enter(
                    entered.len(),
                    turn,
                    self.first_bytes(copy.clone(), range.clone()),
                );
                race.hedge_after(hedge);
                entered.push(copy);
                turn = Turn::Retry;
            }
            match race.next().await {
                RaceEvent::Slow => {
                    // A good copy that is slow is not overtaken by one that may be wrong.
                    if let Some(copy) = copies.pop_front_if(|copy| !copy.is_suspect) {
                        let second = self.first_bytes(copy.clone(), range.clone());
                        race.enter(entered.len(), Turn::Hedge, second);
                        entered.push(copy);
                    }
                }
                RaceEvent::Ended(entrant, Ok((first, download))) => {
                    let from = entered[entrant.node].clone();
                    let took = entrant.since.elapsed();
                    let bucket = &self.inventory.buckets[from.bucket];
                    bucket.live.hedge.add(took, Instant::now());
                    self.inventory.report(from.bucket, None, Some(took));
                    self.store
                        .tally
                        .answered(self.pair(from.bucket), Some(took));
                    self.report_overtaken(&race, &entered);
                    // Those that were tried and are silent are the last resort.
                    let silent = race.entrants().iter().map(|it| entered[it.node].clone());
                    copies.extend(silent);
                    copies.make_contiguous().sort_by_key(|it| it.is_suspect);
                    return Ok(Opened {
                        from,
                        first,
                        download,
                        left: copies,
                    });
                }
                RaceEvent::Ended(entrant, Err(fault)) => {
                    let copy = &entered[entrant.node];
                    self.failed(copy.bucket, &fault);
                    if matches!(fault.kind, FaultKind::Absent | FaultKind::Damaged) {
                        self.distrust(copy);
                    }
                    failed = fault;
                }
            }
        }
    }

    /// A bucket that a hedge has overtaken is slow, which its latency has to show.
    fn report_overtaken<T>(&self, race: &Race<'_, T>, entered: &[CopyAt]) {
        for slow in race.entrants().overtaken() {
            let (bucket, took) = (entered[slow.node].bucket, slow.since.elapsed());
            let live = &self.inventory.buckets[bucket].live;
            live.hedge.add(took, Instant::now());
            let fault = Fault {
                kind: FaultKind::Slow,
                detail: format!("no byte in {took:?}, and another bucket has answered"),
            };
            self.inventory.report(bucket, Some(&fault), None);
        }
    }

    /// Notes that a request goes on with another bucket, or fails.
    pub(super) fn failed(&self, bucket: usize, fault: &Fault) {
        self.inventory.fell_back(bucket, fault);
        self.store.tally.failed(self.pair(bucket));
    }

    /// Notes bytes that a bucket has given.
    pub(super) fn received(&self, bucket: usize, bytes: usize) {
        self.store.tally.downloaded(self.pair(bucket), bytes as u64);
        self.inventory.buckets[bucket]
            .live
            .given
            .increment(bytes as u64);
    }

    fn pair(&self, bucket: usize) -> (&str, &str) {
        pair(&self.repository, &self.inventory, bucket)
    }

    /// Takes a copy out of reads, whose bytes are wrong or not there; reads do not wait for it.
    pub(super) fn distrust(&self, copy: &CopyAt) {
        self.store.distrusted.add(&copy.id, Instant::now());
        let (index, id) = (self.store.index.clone(), copy.id.clone());
        tokio::spawn(async move {
            if let Err(error) = index.suspect(&id).await {
                tracing::warn!(%error, id, "a damaged copy could not be marked");
            }
        });
    }

    async fn first_bytes(
        &self,
        copy: CopyAt,
        range: Range<u64>,
    ) -> Result<(Bytes, Download), Fault> {
        let backend = self.inventory.buckets[copy.bucket].backend();
        let object = ObjectName::of(&copy.id, copy.vendor.as_ref());
        let wanted = range.end - range.start;
        let mut download = backend.get(object, range, copy.bytes).await?;
        let first = within_stream(&mut download).await?;
        let first = first.ok_or_else(Fault::ended_early)?;
        match first.len() as u64 > wanted {
            true => Err(Fault::other_size()),
            false => Ok((first, download)),
        }
    }
}

/// Without those that this gateway has found damaged, unless all of them are.
fn trusted(mut copies: Vec<CopyAt>) -> Vec<CopyAt> {
    if copies.iter().any(|copy| !copy.is_suspect) {
        copies.retain(|copy| !copy.is_suspect);
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_was_found_damaged_is_passed_over_unless_it_is_the_last() {
        let copy = |id: &str, is_suspect| CopyAt {
            bucket: 0,
            id: id.to_owned(),
            is_suspect,
            bytes: 1,
            vendor: None,
        };
        let ids = |copies| -> Vec<String> {
            let copies = trusted(copies).into_iter();
            copies.map(|copy| copy.id).collect()
        };
        assert_eq!(ids(vec![copy("a", true), copy("b", false)]), ["b"]);
        assert_eq!(ids(vec![copy("a", true), copy("b", true)]), ["a", "b"]);
    }
}
