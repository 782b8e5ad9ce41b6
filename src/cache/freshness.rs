//! How an answer of a given age may be used: pure arithmetic after RFC 9111 section 4.2 and RFC
//! 5861.
//!
//! An age here is the greatest possible age of the *data*: the node's proven staleness when the
//! request was sent, plus the time since then. The staleness takes the place of the `Age` of a
//! response in RFC 9111, so that age and staleness together never exceed what the policy row
//! declares.

use std::time::Duration;

use crate::http::age_in_header;
use tidegate_policy::Lifetime;

/// How long a failure is remembered. Meanwhile an answer that may be used on errors is served at
/// once, instead of after each request has found that no node answers.
const FAILURE_MEMORY: Duration = Duration::from_secs(10);

/// Shortest time from a failure to the next fetch in the background: the `Retry-After` of a 503.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How a stored answer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usable {
    /// It is served, and no node is contacted.
    Fresh,
    /// It is served at once, while a newer one is fetched in the background.
    Stale {
        /// Whether the last failure, if any, was long enough ago to try again.
        refresh: bool,
    },
    /// It is served if no node can answer.
    IfError,
    /// It is served at once, since no node could answer a moment ago.
    AfterError {
        /// As for `Stale`.
        refresh: bool,
    },
    /// It is too old for any use.
    No,
}

impl Usable {
    /// Judges an answer by its age and by how long ago fetching a newer one failed, if it did.
    pub fn at(lifetime: &Lifetime, age: Duration, failed_ago: Option<Duration>) -> Self {
        let stale = age.saturating_sub(lifetime.fresh);
        let refresh = failed_ago.is_none_or(|ago| ago >= RETRY_PAUSE);
        if age < lifetime.fresh {
            Self::Fresh
        } else if stale < lifetime.while_revalidate {
            Self::Stale { refresh }
        } else if stale >= lifetime.if_error {
            Self::No
        } else if failed_ago.is_some_and(|ago| ago < FAILURE_MEMORY) {
            Self::AfterError { refresh }
        } else {
            Self::IfError
        }
    }
}

/// Returns the `ttl` of RFC 9211: the remaining whole seconds of freshness, rounded down, negative
/// once the answer is stale.
pub fn ttl_in_header(lifetime: &Lifetime, age: Duration) -> i64 {
    let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    match lifetime.fresh.checked_sub(age) {
        Some(left) => whole(left.as_secs()),
        None => -whole(age_in_header(age - lifetime.fresh)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lifetime(fresh: u64, while_revalidate: u64, if_error: u64) -> Lifetime {
        Lifetime {
            fresh: Duration::from_secs(fresh),
            while_revalidate: Duration::from_secs(while_revalidate),
            if_error: Duration::from_secs(if_error),
        }
    }

    fn at(age: u64, failed_ago: Option<u64>) -> Usable {
        let failed_ago = failed_ago.map(Duration::from_secs);
        Usable::at(&lifetime(10, 5, 60), Duration::from_secs(age), failed_ago)
    }

    const REFRESH: Usable = Usable::Stale { refresh: true };
    const WAIT: Usable = Usable::Stale { refresh: false };

    #[test]
    fn an_answer_passes_through_its_windows_in_order() {
        for (age, expected) in [
            (0, Usable::Fresh),
            (9, Usable::Fresh),
            (10, REFRESH),
            (14, REFRESH),
            (15, Usable::IfError),
            (69, Usable::IfError),
            (70, Usable::No),
        ] {
            assert_eq!(at(age, None), expected, "{age}");
        }
    }

    #[test]
    fn a_failure_pauses_refreshes_and_spares_clients_the_wait_for_another() {
        assert_eq!(at(9, Some(0)), Usable::Fresh);
        assert_eq!(at(10, Some(0)), WAIT);
        assert_eq!(at(10, Some(1)), REFRESH);
        assert_eq!(at(15, Some(0)), Usable::AfterError { refresh: false });
        assert_eq!(at(15, Some(9)), Usable::AfterError { refresh: true });
        assert_eq!(at(15, Some(10)), Usable::IfError, "forgotten");
        assert_eq!(at(70, Some(0)), Usable::No);
    }

    #[test]
    fn without_stale_windows_an_answer_ends_with_its_freshness() {
        let plain = lifetime(10, 0, 0);
        let usable = |age| Usable::at(&plain, Duration::from_secs(age), Some(Duration::ZERO));
        assert_eq!((usable(9), usable(10)), (Usable::Fresh, Usable::No));
    }

    #[test]
    fn seconds_in_headers_are_rounded_against_the_cache() {
        let ms = Duration::from_millis;
        for (age, header) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(age_in_header(ms(age)), header);
        }
        let lifetime = lifetime(10, 0, 0);
        for (age, ttl) in [
            (0, 10),
            (1, 9),
            (9_999, 0),
            (10_000, 0),
            (10_001, -1),
            (12_500, -3),
        ] {
            assert_eq!(ttl_in_header(&lifetime, ms(age)), ttl, "{age}");
        }
    }

    prop_compose! {
        fn lifetimes()(fresh in 0..20_u64, revalidate in 0..20_u64, error in 0..20_u64) -> Lifetime {
            lifetime(fresh, revalidate, error)
        }
    }

    fn ages() -> impl Strategy<Value = Duration> {
        (0..60_000_u64).prop_map(Duration::from_millis)
    }

    fn failures() -> impl Strategy<Value = Option<Duration>> {
        proptest::option::of(ages())
    }

    proptest! {
        #[test]
        fn nothing_is_used_beyond_what_the_row_declares(
            lifetime in lifetimes(), age in ages(), failed_ago in failures(),
        ) {
            let usable = Usable::at(&lifetime, age, failed_ago);
            prop_assert_eq!(usable == Usable::Fresh, age < lifetime.fresh);
            prop_assert_eq!(usable == Usable::No, age >= lifetime.total());
            if let Usable::Stale { .. } = usable {
                prop_assert!(age < lifetime.fresh + lifetime.while_revalidate);
            }
            if let Usable::AfterError { .. } = usable {
                prop_assert!(failed_ago.is_some_and(|ago| ago < FAILURE_MEMORY));
            }
        }

        #[test]
        fn an_answer_never_becomes_better_with_age(
            lifetime in lifetimes(), age in ages(), older in ages(), failed_ago in failures(),
        ) {
            let rank = |age| match Usable::at(&lifetime, age, failed_ago) {
                Usable::Fresh => 0,
                Usable::Stale { .. } => 1,
                Usable::IfError | Usable::AfterError { .. } => 2,
                Usable::No => 3,
            };
            prop_assert!(rank(age) <= rank(age + older));
        }

        #[test]
        fn a_stale_node_shortens_the_lifetime_by_its_staleness(
            lifetime in lifetimes(), staleness in ages(), resident in ages(),
        ) {
            let usable = Usable::at(&lifetime, staleness + resident, None);
            let shortened = Lifetime {
                fresh: lifetime.fresh.saturating_sub(staleness),
                ..lifetime
            };
            if staleness <= lifetime.fresh {
                prop_assert_eq!(usable, Usable::at(&shortened, resident, None));
            } else {
                prop_assert_ne!(usable, Usable::Fresh);
            }
        }

        #[test]
        fn what_a_downstream_cache_adds_to_age_stays_within_the_lifetime(
            lifetime in lifetimes(), age in ages(),
        ) {
            // RFC 9111 section 4.2: it may use the answer while max-age exceeds Age.
            let left = lifetime.fresh.saturating_sub(SECOND * u32::try_from(age_in_header(age)).unwrap());
            prop_assert!(age + left <= lifetime.fresh.max(age));
            let ttl = ttl_in_header(&lifetime, age);
            prop_assert_eq!(ttl < 0, age > lifetime.fresh);
            prop_assert!(ttl <= i64::try_from(lifetime.fresh.as_secs()).unwrap());
        }
    }
}
