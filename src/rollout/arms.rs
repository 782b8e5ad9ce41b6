//! The arms of a rollout: requests for which the two plans choose different regions, by the plan that was
//! used.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// More requests than any gateway counts while a rollout is open: beyond that, a report is not to be believed.
const COUNT_MAX: u64 = 1 << 40;

/// Times are counted in buckets 5 % apart, from a tenth of a millisecond on.
const STEP: f64 = 1.05;
const LEAST: Duration = Duration::from_micros(100);
pub(crate) const BUCKETS: usize = 256;

/// What has become of the requests of one arm.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArmCounts {
    /// How many there were.
    pub requests: u64,
    /// Those that failed: 5xx, `deadline`, `outcome-unknown`.
    pub errors: u64,
    /// By bucket of time: how many; without those that are 0.
    times: Vec<(u8, u64)>,
}

/// Both arms.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArmPair {
    /// The requests for which the new plan was used.
    pub new: ArmCounts,
    /// The requests for which the old one was.
    pub old: ArmCounts,
}

/// What a gateway has counted of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArmReport {
    /// When the rollout began that the report is about, in microseconds since 1970; 0 where that is not known or, from an
    /// older version, none is open, and nothing from one that does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// Whether the gateway has trusted keys, and so takes over only what one of them has signed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed_only: bool,
    /// Decisions since the rollout began.
    #[serde(default)]
    pub decided: u64,
    /// Those for which the plans chose different regions.
    #[serde(default)]
    pub changed: u64,
    /// Of the new plan's requests, those that failed or were late, since the rollout began.
    #[serde(default)]
    pub exposed: u64,
    /// The arms since the stage began.
    #[serde(default, flatten)]
    pub arms: ArmPair,
}

impl ArmCounts {
    /// Counts a request.
    pub fn add(&mut self, failed: bool, took: Duration) {
        self.requests += 1;
        self.errors += u64::from(failed);
        self.add_times(bucket(took), 1);
    }

    /// Adds what another gateway has counted.
    pub fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        for (bucket, count) in &other.times {
            self.add_times(*bucket, *count);
        }
    }

    /// Returns what has been counted since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bucket: u8| {
            let found = earlier.times.iter().find(|(it, _)| *it == bucket);
            found.map_or(0, |(_, count)| *count)
        };
        let times = self.times.iter();
        let times = times.map(|(it, count)| (*it, count.saturating_sub(before(*it))));
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
            times: times.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// Returns how many took longer than a bucket's times.
    #[must_use]
    pub(crate) fn later_than(&self, bucket: u8) -> u64 {
        let later = self.times.iter().filter(|(it, _)| *it > bucket);
        sum(later.map(|(_, count)| *count))
    }

    /// Returns the bucket up to which a share of the requests lies.
    #[must_use]
    pub(crate) fn quantile(&self, share: f64) -> u8 {
        let all = sum(self.times.iter().map(|(_, count)| *count));
        let enough = (all as f64 * share).ceil() as u64;
        let mut below = 0_u64;
        for (bucket, count) in &self.times {
            below = below.saturating_add(*count);
            if below >= enough {
                return *bucket;
            }
        }
        u8::MAX
    }

    /// Returns the same with no more failed or timed requests than requests, and its times in order.
    fn bounded(self) -> Self {
        let requests = self.requests.min(COUNT_MAX);
        let mut bounded = Self {
            requests,
            errors: self.errors.min(requests),
            times: Vec::new(),
        };
        let mut left = requests;
        for (bucket, count) in self.times {
            let count = count.min(left);
            left -= count;
            bounded.add_times(bucket, count);
        }
        bounded
    }

    fn add_times(&mut self, bucket: u8, count: u64) {
        match self.times.binary_search_by_key(&bucket, |(it, _)| *it) {
            Ok(at) => self.times[at].1 = self.times[at].1.saturating_add(count),
            Err(at) => self.times.insert(at, (bucket, count)),
        }
    }
}

impl ArmReport {
    /// Reads what a gateway says it has counted; nothing of what cannot be read, and no more than could be
    /// true: whoever may write the row may write anything.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let Self {
            started,
            signed_only,
            decided,
            changed,
            exposed,
            arms,
        } = serde_json::from_str(text).unwrap_or_default();
        let decided = u64::min(decided, COUNT_MAX);
        Self {
            started,
            signed_only,
            decided,
            changed: u64::min(changed, decided),
            exposed: u64::min(exposed, decided),
            arms: ArmPair {
                new: arms.new.bounded(),
                old: arms.old.bounded(),
            },
        }
    }
}

impl ArmPair {
    /// Adds what another gateway has counted.
    pub fn merge(&mut self, other: &Self) {
        self.new.merge(&other.new);
        self.old.merge(&other.old);
    }

    /// Returns what has been counted since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            new: self.new.since(&earlier.new),
            old: self.old.since(&earlier.old),
        }
    }

    /// Returns the counts of both arms together.
    #[must_use]
    pub(crate) fn common(&self) -> ArmCounts {
        let mut common = self.new.clone();
        common.merge(&self.old);
        common
    }

    /// Returns how many requests of the new and of the old arm took longer than 99 % of all.
    #[must_use]
    pub fn late(&self) -> [u64; 2] {
        let tail = self.common().quantile(0.99);
        [&self.new, &self.old].map(|arm| arm.later_than(tail))
    }
}

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn bucket(took: Duration) -> u8 {
    let tenths = took.as_secs_f64() / LEAST.as_secs_f64();
    if tenths < 1.0 {
        return 0;
    }
    let bucket = 1.0 + libm::log(tenths) / libm::log(STEP);
    bucket.min((BUCKETS - 1) as f64) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(times: &[u64]) -> ArmCounts {
        let mut counts = ArmCounts::default();
        for time in times {
            counts.add(false, Duration::from_millis(*time));
        }
        counts
    }

    #[test]
    fn times_five_percent_apart_are_told_apart_and_all_times_have_a_bucket() {
        let at = |micros| bucket(Duration::from_micros(micros));
        assert_eq!((at(0), at(99), at(100)), (0, 0, 1));
        assert!(at(10_000) < at(10_600));
        assert!(at(1_000_000) < at(1_060_000));
        assert_eq!(bucket(Duration::from_secs(3_600)), u8::MAX);
    }

    #[test]
    fn what_was_counted_since_is_the_difference_and_adds_up_again() {
        let before = millis(&[1, 5, 5]);
        let mut after = before.clone();
        after.merge(&millis(&[5, 90]));
        let since = after.since(&before);
        assert_eq!(since, millis(&[5, 90]));
        let mut sum = before;
        sum.merge(&since);
        assert_eq!(sum, after);
    }

    #[test]
    fn what_a_row_claims_is_bounded_and_its_sums_neither_overflow_nor_pass_its_requests() {
        let most = u64::MAX;
        let text = format!(
            r#"{{"decided":{most},"changed":{most},"exposed":{most},
               "new":{{"requests":{most},"errors":{most},"times":[[9,{most}],[3,{most}],[9,{most}]]}},
               "old":{{"requests":7,"errors":9,"times":[[9,5],[3,4],[3,1]]}}}}"#
        );
        let report = ArmReport::read(&text);
        assert_eq!((report.decided, report.changed), (COUNT_MAX, COUNT_MAX));
        let ArmPair { mut new, old } = report.arms;
        assert_eq!((new.requests, new.errors), (COUNT_MAX, COUNT_MAX));
        assert_eq!((old.errors, old.times), (7, vec![(3, 2), (9, 5)]));
        let all = ArmCounts {
            requests: most,
            errors: most,
            times: vec![(3, most), (9, most)],
        };
        new.merge(&all);
        assert_eq!((new.requests, new.later_than(0)), (most, most));
        let arms = r#""new":{"requests":1,"errors":0,"times":[]},"old":{"requests":1,"errors":0,"times":[]}"#;
        let begun = ArmReport::read(&format!("{{\"started\":7,{arms}}}"));
        assert_eq!(begun.started, Some(7));
        for text in [
            "",
            "{}",
            "[]",
            r#"{"decided":-1}"#,
            r#"{"new":{"requests":1e99}}"#,
        ] {
            assert_eq!(ArmReport::read(text), ArmReport::default(), "{text}");
        }
    }

    #[test]
    fn half_of_all_take_longer_than_the_common_median() {
        let pair = ArmPair {
            new: millis(&[10, 20, 30]),
            old: millis(&[1, 2, 3]),
        };
        let common = pair.common();
        assert_eq!(common.later_than(common.quantile(0.5)), 3);
        assert_eq!(common.later_than(common.quantile(0.99)), 0);
    }
}
