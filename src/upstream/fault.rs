//! Whose fault a server error (5xx) is: the node's, or the application's wherever it runs.
//!
//! One answer cannot tell. Two can: if another node answers the same request well, the fault is the
//! first one's; if it returns a server error too, the fault says nothing about either. A request
//! that cannot be repeated gives one answer only; what recent comparisons showed decides then, and
//! after several such errors in a row another node is asked first, once, to make a comparison.

use std::time::Duration;

use tokio::time::Instant;

/// Server errors in a row, without a comparison, after which one is made: as many as open a circuit
/// breaker.
const UNCOMPARED_MAX: u32 = 5;

/// How long a comparison decides on later errors. An application that fails on all nodes is
/// compared no more often than this.
const COMPARISON_HOLDS: Duration = Duration::from_secs(10);

/// Time in which one request makes the comparison before another one may.
const COMPARISON_TAKES: Duration = Duration::from_secs(1);

/// What a comparison of a node's server error with another node's answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Another node answered well: the node is at fault.
    Node,
    /// Another node returned a server error, too: the application is at fault.
    Application,
}

/// What is known about the server errors of one node.
#[derive(Debug, Default)]
pub(super) struct ServerErrors {
    /// In a row, since the last comparison.
    uncompared: u32,
    /// The kind of the last request that was not compared.
    kind: u64,
    compared: Option<(Fault, Instant)>,
    claimed: Option<Instant>,
}

impl ServerErrors {
    /// Records an answer that is not a server error.
    pub(super) fn end_row(&mut self) {
        self.uncompared = 0;
    }

    /// Records what a comparison showed. Returns how many server errors count against the node: the
    /// one that was compared, and those before it that were not.
    pub(super) fn compare(&mut self, fault: Fault, now: Instant) -> u32 {
        let uncompared = std::mem::take(&mut self.uncompared);
        self.compared = Some((fault, now));
        match fault {
            Fault::Node => uncompared.max(1),
            Fault::Application => 0,
        }
    }

    /// Records a server error that is compared with nothing, of a request of some kind. Returns
    /// whether it counts against the node.
    pub(super) fn add(&mut self, kind: u64, now: Instant) -> bool {
        let fault = self.recent(now);
        if fault.is_none() {
            self.kind = kind;
            self.uncompared = self.uncompared.saturating_add(1);
        }
        fault == Some(Fault::Node)
    }

    /// Claims the one request that is sent to another node first, to make a comparison, if one is
    /// needed. Only a request of the kind that has failed can make it: another one may well succeed
    /// anywhere.
    pub(super) fn claim_comparison(&mut self, kind: u64, now: Instant) -> bool {
        let is_past = |at| now.saturating_duration_since(at) >= COMPARISON_TAKES;
        let claimed = self.uncompared >= UNCOMPARED_MAX
            && self.kind == kind
            && self.recent(now).is_none()
            && self.claimed.is_none_or(is_past);
        if claimed {
            self.claimed = Some(now);
        }
        claimed
    }

    fn recent(&self, now: Instant) -> Option<Fault> {
        let (fault, at) = self.compared?;
        (now.saturating_duration_since(at) < COMPARISON_HOLDS).then_some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: u64 = 7;

    #[test]
    fn an_error_that_another_node_does_not_share_counts_and_so_do_those_that_follow() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        assert_eq!(errors.compare(Fault::Node, now), 1);
        assert!(errors.add(KIND, now + COMPARISON_HOLDS / 2));
        assert!(!errors.add(KIND, now + COMPARISON_HOLDS));
    }

    #[test]
    fn an_error_that_another_node_shares_counts_against_neither() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        assert_eq!(errors.compare(Fault::Application, now), 0);
        for _ in 0..100 {
            assert!(!errors.add(KIND, now));
        }
        assert!(
            !errors.claim_comparison(KIND, now),
            "it was compared a moment ago"
        );
    }

    #[test]
    fn errors_in_a_row_that_were_not_compared_count_once_one_of_them_is() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        for _ in 0..UNCOMPARED_MAX {
            assert!(!errors.claim_comparison(KIND, now));
            assert!(!errors.add(KIND, now));
        }
        assert!(errors.claim_comparison(KIND, now));
        assert!(!errors.claim_comparison(KIND, now), "one at a time");
        assert!(errors.claim_comparison(KIND, now + COMPARISON_TAKES));
        assert_eq!(errors.compare(Fault::Node, now), UNCOMPARED_MAX);
        assert!(!errors.claim_comparison(KIND, now + COMPARISON_TAKES));
    }

    #[test]
    fn another_answer_ends_a_row() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        for _ in 0..10 * UNCOMPARED_MAX {
            errors.add(KIND, now);
            errors.end_row();
        }
        assert!(!errors.claim_comparison(KIND, now));
    }

    #[test]
    fn a_request_of_another_kind_makes_no_comparison() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        for _ in 0..UNCOMPARED_MAX {
            errors.add(KIND, now);
        }
        assert!(!errors.claim_comparison(KIND + 1, now));
        assert!(errors.claim_comparison(KIND, now));
    }
}
