//! Whose fault a server error (5xx) is: the node's, or the application's wherever it runs.
//!
//! One answer cannot tell. Two can: if another node answers the same request well, the fault is the
//! first one's; if it returns a server error too, the fault says nothing about either. A request
//! that cannot be repeated gives one answer only; what recent comparisons showed decides then, and
//! after several such errors in a row another node is asked first, once, to make a comparison.
//!
//! Each kind of request is judged by itself: a node may work for all but one, and what an
//! application fails at everywhere says nothing about the rest.

use std::time::Duration;

use tokio::time::Instant;

/// Server errors in a row, without a comparison, after which one is made: as many as open a circuit
/// breaker. As many that are the node's own fault make it the last choice for their kind.
const IN_ROW_MAX: u32 = 5;

/// Server errors in a row after which a request for another path makes the comparison, too. Before
/// that its success elsewhere would say little.
const OF_ANY_PATH_MAX: u32 = 2 * IN_ROW_MAX;

/// How long a comparison decides on later errors, and how long a node is left by requests of a kind
/// that it fails. An application that fails on all nodes is compared no more often than this.
const COMPARISON_HOLDS: Duration = Duration::from_secs(10);

/// Time in which one request makes the comparison before another one may.
const COMPARISON_TAKES: Duration = Duration::from_secs(1);

/// Most kinds of requests that are judged at a time; the oldest makes room. Two for each endpoint of
/// an upstream with many of them, in a few kilobytes.
const KINDS_MAX: usize = 64;

/// What a request asks for, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Its endpoint, and whether it is safe: such requests are judged together.
    pub(super) group: u64,
    /// Its method and path.
    pub(super) exact: u64,
}

/// What a comparison of a node's server error with another node's answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Another node answered well: the node is at fault.
    Node,
    /// Another node returned a server error, too: the application is at fault.
    Application,
}

/// Server errors that count against a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failures {
    pub(super) count: u32,
    /// If the node has answered anything well since then, they say that it fails this kind, and nothing
    /// about its other requests.
    pub(super) unless_well_since: Option<Instant>,
}

impl Failures {
    const NONE: Self = Self {
        count: 0,
        unless_well_since: None,
    };
}

/// What is known about the server errors of one node, by the kind of request.
#[derive(Debug, Default)]
pub(super) struct ServerErrors {
    kinds: Vec<KindErrors>,
}

#[derive(Debug)]
struct KindErrors {
    group: u64,
    used: Instant,
    /// In a row, since the last comparison.
    uncompared: u32,
    /// When the row began: of those that were not compared, or of failures.
    row_since: Option<Instant>,
    /// The method and path of the last request that was not compared.
    exact: u64,
    compared: Option<(Fault, Instant)>,
    claimed: Option<Instant>,
    /// In a row, by the node's fault.
    failures: u32,
    /// Until when the node is left, once there are too many of those.
    left_until: Option<Instant>,
}

impl ServerErrors {
    /// Records an answer that is not a server error.
    pub(super) fn end_row(&mut self, kind: Kind) {
        if let Some(errors) = self.find(kind) {
            errors.uncompared = 0;
            errors.forgive();
        }
    }

    /// Whether no kind has errors in a row.
    pub(super) fn are_over(&self) -> bool {
        let mut kinds = self.kinds.iter();
        kinds.all(|errors| errors.uncompared == 0 && errors.failures == 0)
    }

    /// Records what a comparison showed. Returns the server errors that count against the node: the
    /// one that was compared, and those before it that were not.
    pub(super) fn compare(&mut self, kind: Kind, fault: Fault, now: Instant) -> Failures {
        let errors = self.find_or_add(kind, now);
        let uncompared = std::mem::take(&mut errors.uncompared);
        errors.compared = Some((fault, now));
        match fault {
            Fault::Node => {
                let since = errors.row_since.filter(|_| uncompared > 1);
                errors.fail(uncompared.max(1), since, now)
            }
            Fault::Application => {
                errors.forgive();
                Failures::NONE
            }
        }
    }

    /// Records a server error that is compared with nothing. Returns whether it counts against the
    /// node.
    pub(super) fn add(&mut self, kind: Kind, now: Instant) -> Failures {
        let errors = self.find_or_add(kind, now);
        if errors.left_until.is_some() || errors.recent(now) == Some(Fault::Node) {
            return errors.fail(1, None, now);
        }
        if errors.recent(now).is_none() {
            errors.exact = kind.exact;
            errors.uncompared = errors.uncompared.saturating_add(1);
            errors.row_since.get_or_insert(now);
        }
        Failures::NONE
    }

    /// Claims the one request that is sent to another node first, to make a comparison, if one is
    /// needed. At first only a request like the one that has failed can make it: another one may
    /// well succeed anywhere.
    pub(super) fn claim_comparison(&mut self, kind: Kind, now: Instant) -> bool {
        let Some(errors) = self.find(kind) else {
            return false;
        };
        let is_past = |at| now.saturating_duration_since(at) >= COMPARISON_TAKES;
        let is_alike = errors.exact == kind.exact || errors.uncompared >= OF_ANY_PATH_MAX;
        let claimed = errors.uncompared >= IN_ROW_MAX
            && is_alike
            && errors.recent(now).is_none()
            && errors.claimed.is_none_or(is_past);
        if claimed {
            errors.claimed = Some(now);
        }
        claimed
    }

    /// Whether a request goes to another node because this one fails its kind. One request at a time
    /// finds out whether it still does.
    pub(super) fn is_left(&mut self, kind: Kind, now: Instant) -> bool {
        let left = self.find(kind).and_then(|it| it.left_until.as_mut());
        let Some(until) = left else { return false };
        let is_left = now < *until;
        if !is_left {
            *until = now + COMPARISON_HOLDS;
        }
        is_left
    }

    fn find(&mut self, kind: Kind) -> Option<&mut KindErrors> {
        let mut kinds = self.kinds.iter_mut();
        kinds.find(|errors| errors.group == kind.group)
    }

    fn find_or_add(&mut self, kind: Kind, now: Instant) -> &mut KindErrors {
        let kinds = &mut self.kinds;
        let known = kinds.iter().position(|it| it.group == kind.group);
        let index = known.unwrap_or_else(|| {
            if kinds.len() >= KINDS_MAX {
                let oldest = kinds.iter().enumerate().min_by_key(|(_, it)| it.used);
                let oldest = oldest.map_or(0, |(index, _)| index);
                kinds.swap_remove(oldest);
            }
            kinds.push(KindErrors::new(kind, now));
            kinds.len() - 1
        });
        let errors = &mut kinds[index];
        errors.used = now;
        errors
    }
}

impl KindErrors {
    fn new(kind: Kind, now: Instant) -> Self {
        Self {
            group: kind.group,
            used: now,
            uncompared: 0,
            row_since: None,
            exact: kind.exact,
            compared: None,
            claimed: None,
            failures: 0,
            left_until: None,
        }
    }

    /// Records failures; those that were not compared at once began at some time before.
    fn fail(&mut self, count: u32, begun: Option<Instant>, now: Instant) -> Failures {
        let row_since = *self.row_since.get_or_insert(now);
        // Of a kind that the node is left by, it is tried again only to see whether it still fails that.
        let tried_again = self.left_until.map(|_| row_since);
        self.failures = self.failures.saturating_add(count);
        if self.failures >= IN_ROW_MAX {
            self.left_until = Some(now + COMPARISON_HOLDS);
        }
        Failures {
            count,
            unless_well_since: begun.or(tried_again),
        }
    }

    fn forgive(&mut self) {
        self.failures = 0;
        self.left_until = None;
        self.row_since = None;
    }

    fn recent(&self, now: Instant) -> Option<Fault> {
        let (fault, at) = self.compared?;
        (now.saturating_duration_since(at) < COMPARISON_HOLDS).then_some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { group: 7, exact: 1 };

    /// Requests of other kinds, too.
    const OTHER: Kind = Kind { group: 8, exact: 2 };

    fn add_row(errors: &mut ServerErrors, kind: Kind, count: u32, now: Instant) {
        for _ in 0..count {
            assert_eq!(errors.add(kind, now).count, 0);
        }
    }

    #[test]
    fn an_error_that_another_node_does_not_share_counts_and_so_do_those_that_follow() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        assert_eq!(errors.compare(KIND, Fault::Node, now).count, 1);
        assert_eq!(errors.add(KIND, now + COMPARISON_HOLDS / 2).count, 1);
        assert_eq!(errors.add(KIND, now + COMPARISON_HOLDS).count, 0);
    }

    #[test]
    fn an_error_that_another_node_shares_counts_against_neither() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        assert_eq!(
            errors.compare(KIND, Fault::Application, now),
            Failures::NONE
        );
        add_row(&mut errors, KIND, 100, now);
        assert!(
            !errors.claim_comparison(KIND, now),
            "it was compared a moment ago"
        );
        assert!(errors.are_over());
    }

    #[test]
    fn errors_in_a_row_that_were_not_compared_count_once_one_of_them_is() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        for _ in 0..IN_ROW_MAX {
            assert!(!errors.claim_comparison(KIND, now));
            assert_eq!(errors.add(KIND, now).count, 0);
        }
        assert!(errors.claim_comparison(KIND, now));
        assert!(!errors.claim_comparison(KIND, now), "one at a time");
        assert!(errors.claim_comparison(KIND, now + COMPARISON_TAKES));
        assert_eq!(errors.compare(KIND, Fault::Node, now).count, IN_ROW_MAX);
        assert!(!errors.claim_comparison(KIND, now + COMPARISON_TAKES));
    }

    #[test]
    fn a_good_answer_ends_a_row_of_its_kind_and_of_no_other() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        for _ in 0..10 * IN_ROW_MAX {
            errors.add(KIND, now);
            errors.end_row(KIND);
        }
        assert!(!errors.claim_comparison(KIND, now));
        assert!(errors.are_over());
        for _ in 0..IN_ROW_MAX {
            errors.add(KIND, now);
            errors.end_row(OTHER);
        }
        assert!(errors.claim_comparison(KIND, now));
        assert!(!errors.are_over());
    }

    #[test]
    fn a_comparison_of_one_kind_says_nothing_about_another() {
        let now = Instant::now();
        for fault in [Fault::Application, Fault::Node] {
            let mut errors = ServerErrors::default();
            for _ in 0..IN_ROW_MAX {
                errors.compare(OTHER, fault, now);
                assert_eq!(errors.add(KIND, now).count, 0, "{fault:?}");
            }
            assert!(errors.claim_comparison(KIND, now), "{fault:?}");
            assert_eq!(errors.compare(KIND, Fault::Node, now).count, IN_ROW_MAX);
        }
    }

    #[test]
    fn a_request_of_another_kind_makes_no_comparison_and_one_for_another_path_makes_it_late() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        let elsewhere = Kind { exact: 3, ..KIND };
        add_row(&mut errors, KIND, IN_ROW_MAX, now);
        assert!(!errors.claim_comparison(OTHER, now));
        assert!(!errors.claim_comparison(elsewhere, now));
        add_row(&mut errors, KIND, IN_ROW_MAX, now);
        assert!(!errors.claim_comparison(OTHER, now));
        assert!(errors.claim_comparison(elsewhere, now));
    }

    #[test]
    fn a_node_is_left_by_a_kind_that_it_fails_and_tried_again_by_one_request_at_a_time() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        errors.compare(KIND, Fault::Node, now);
        assert!(!errors.is_left(KIND, now), "one failure is none");
        for _ in 1..IN_ROW_MAX {
            assert_eq!(errors.add(KIND, now).count, 1);
        }
        assert!(errors.is_left(KIND, now) && !errors.is_left(OTHER, now));
        errors.end_row(OTHER);
        let later = now + COMPARISON_HOLDS;
        assert!(!errors.is_left(KIND, later));
        assert!(errors.is_left(KIND, later), "one is trying it");
        assert_eq!(errors.add(KIND, later).count, 1, "it still fails");
        assert!(!errors.is_left(KIND, later + COMPARISON_HOLDS));
        errors.end_row(KIND);
        assert!(!errors.is_left(KIND, later + COMPARISON_HOLDS));
        assert!(errors.are_over());
    }

    #[test]
    fn a_row_and_what_tries_again_count_only_if_the_node_has_answered_nothing_well_meanwhile() {
        let start = Instant::now();
        let mut errors = ServerErrors::default();
        let single = errors.compare(OTHER, Fault::Node, start);
        assert_eq!(single.unless_well_since, None);
        add_row(&mut errors, KIND, IN_ROW_MAX, start);
        let later = start + COMPARISON_TAKES;
        let row = errors.compare(KIND, Fault::Node, later);
        assert_eq!(row.unless_well_since, Some(start));
        let again = errors.add(KIND, later + COMPARISON_HOLDS);
        assert_eq!(again.unless_well_since, Some(start));
        errors.end_row(KIND);
        errors.compare(KIND, Fault::Node, later);
        let follows = errors.add(KIND, later);
        assert_eq!((follows.count, follows.unless_well_since), (1, None));
    }

    #[test]
    fn a_node_is_not_left_for_what_the_application_fails_at_everywhere() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        for _ in 0..IN_ROW_MAX {
            errors.compare(KIND, Fault::Node, now);
        }
        errors.compare(KIND, Fault::Application, now);
        assert!(!errors.is_left(KIND, now));
    }

    #[test]
    fn the_oldest_of_too_many_kinds_makes_room() {
        let now = Instant::now();
        let mut errors = ServerErrors::default();
        add_row(&mut errors, KIND, IN_ROW_MAX, now);
        for group in 100..1000 {
            let later = now + Duration::from_millis(group);
            errors.add(Kind { group, exact: 0 }, later);
        }
        assert_eq!(errors.kinds.len(), KINDS_MAX);
        assert!(!errors.claim_comparison(KIND, now));
    }
}
