//! Which copies are read, in the order in which they are tried: pure.

use std::time::Duration;

use super::policy::ReadPolicy;

/// Latencies within this share of one another are equal, so that the price decides.
const EQUAL_SHARE: f64 = 0.2;

/// A copy as a plan sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopyView {
    /// The place of its bucket among the repository's members, if it is one: a mirror is not.
    pub(super) position: Option<usize>,
    /// The place of its bucket among all by speed, the fastest first.
    pub(super) rank: usize,
    /// Whether the bucket works, as far as is known.
    pub(super) healthy: bool,
    /// The bucket's average latency.
    pub(super) latency: Duration,
    /// Whether the bucket is slower than the repository's `read_slo`.
    pub(super) over_slo: bool,
    /// USD for a GB.
    pub(super) price: f64,
}

impl CopyView {
    /// What counts for more than the policy; the least comes first.
    fn class(&self) -> (bool, bool, bool) {
        (!self.healthy, self.position.is_none(), self.over_slo)
    }
}

/// Returns the copies in the order in which they are tried: those in buckets that work first, of them
/// those in members, then those within the objective, then by the policy.
pub(super) fn order(policy: ReadPolicy, copies: &[CopyView]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..copies.len()).collect();
    let preference = |index: usize| match policy {
        ReadPolicy::Order => copies[index].position.unwrap_or(usize::MAX),
        ReadPolicy::Fastest => copies[index].rank,
    };
    order.sort_by_key(|&index| (copies[index].class(), preference(index)));
    if policy == ReadPolicy::Fastest {
        cheapest_of_equals_first(&mut order, copies);
    }
    order
}

/// Moves the cheapest of those forward that are about as fast as the first.
fn cheapest_of_equals_first(order: &mut [usize], copies: &[CopyView]) {
    let Some(&first) = order.first() else { return };
    let best = copies[first];
    let limit = best.latency.mul_f64(1.0 + EQUAL_SHARE);
    let is_equal = |&&index: &&usize| {
        let copy = &copies[index];
        copy.class() == best.class() && copy.latency <= limit
    };
    let equals = order.iter().take_while(is_equal).count();
    order[..equals].sort_by(|&a, &b| copies[a].price.total_cmp(&copies[b].price));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(rank: usize, latency_ms: u64, price: f64) -> CopyView {
        CopyView {
            position: Some(9 - rank),
            rank,
            healthy: true,
            latency: Duration::from_millis(latency_ms),
            over_slo: false,
            price,
        }
    }

    #[test]
    fn the_fastest_copy_is_read_first_and_the_others_follow() {
        let copies = [copy(1, 80, 0.0), copy(0, 10, 0.0)];
        assert_eq!(order(ReadPolicy::Fastest, &copies), [1, 0]);
        assert_eq!(order(ReadPolicy::Order, &copies), [0, 1]);
    }

    #[test]
    fn of_copies_about_as_fast_the_cheapest_is_read() {
        let copies = [copy(0, 100, 0.09), copy(1, 120, 0.01), copy(2, 121, 0.0)];
        assert_eq!(order(ReadPolicy::Fastest, &copies), [1, 0, 2]);
    }

    #[test]
    fn a_mirror_is_read_only_when_no_member_works() {
        let mirror = CopyView {
            position: None,
            ..copy(0, 1, 0.0)
        };
        let slow = CopyView {
            over_slo: true,
            ..copy(1, 90, 1.0)
        };
        let failed = CopyView {
            healthy: false,
            ..copy(2, 1, 0.0)
        };
        for policy in [ReadPolicy::Fastest, ReadPolicy::Order] {
            assert_eq!(order(policy, &[mirror, slow]), [1, 0]);
            assert_eq!(order(policy, &[failed, mirror]), [1, 0]);
        }
    }

    #[test]
    fn a_bucket_that_failed_or_misses_the_objective_comes_later() {
        let failed = CopyView {
            healthy: false,
            ..copy(0, 1, 0.0)
        };
        let slow = CopyView {
            over_slo: true,
            ..copy(1, 2, 0.0)
        };
        let copies = [failed, slow, copy(2, 50, 1.0)];
        assert_eq!(order(ReadPolicy::Fastest, &copies), [2, 1, 0]);
        assert_eq!(order(ReadPolicy::Order, &copies), [2, 1, 0]);
    }
}
