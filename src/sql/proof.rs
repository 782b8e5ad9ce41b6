//! What is proven about a replica before a request is sent to it, and about its answer. Pure.

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use tidegate_model::NodeStatus;
use tidegate_model::RequestToken;
use tidegate_policy::Decision;

/// An answer that cannot be shown to be within the bound of its request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unproven;

/// Whether the known state of a replica proves that the request may be sent to it now; `known` is
/// `None` if nothing is known about the server life that would answer.
pub(super) fn may_be_asked(decision: &Decision, known: Option<&NodeStatus>, now: Instant) -> bool {
    let bound = decision.consistency.max_staleness;
    let within = |status: &NodeStatus| {
        let proven_at = status.proven_at;
        staleness_within(bound, proven_at, now).is_ok()
    };
    match decision.token {
        RequestToken::Verified(token) => known.is_some_and(|status| {
            let reached = status
                .position
                .is_some_and(|at| at.timeline == token.timeline && at.lsn >= token.lsn);
            reached && within(status)
        }),
        RequestToken::None | RequestToken::Unverifiable => match bound {
            None => true,
            Some(_) => known.is_some_and(within),
        },
    }
}

/// Judges a replica's answer after it has arrived, so that the time that it took counts. Returns
/// its staleness, the proven upper bound on its age; `None` if nothing is proven and nothing needs
/// to be.
///
/// `before` is what was known about the server life that answered when the statement was sent,
/// `newest` what is known now.
///
/// The answer was read from a snapshot that was taken at some time after the statement was sent.
/// Replay does not go back within a server's life, and a position is published once its commits
/// are visible, so the snapshot contains everything up to `before.position`. Hence any fence at or
/// below that position proves the answer, whenever the fence was taken: a primary that writes
/// nothing shows the same position again, later. What is known now is derived from the newest
/// sample's position. If that is the same position, the sample has passed the same fences as the
/// snapshot, and its proof applies to the answer. If it is a later one, the replica may have
/// reached it after the snapshot was taken, and it proves nothing about this answer.
///
/// # Errors
/// [`Unproven`] if the request has a bound and the answer is not proven to be within it.
pub(super) fn staleness_of_answer(
    bound: Option<Duration>,
    before: Option<&NodeStatus>,
    newest: impl FnOnce() -> Arc<NodeStatus>,
    now: Instant,
) -> Result<Option<Duration>, Unproven> {
    let proven_before = before.and_then(|status| status.proven_at);
    staleness_within(bound, proven_before, now).or_else(|Unproven| {
        let newest = newest();
        let position = before.and_then(|status| status.position);
        let same = position.is_some() && position == newest.position;
        staleness_within(bound, newest.proven_at.filter(|_| same), now)
    })
}

/// The time since a moment whose whole state the replica is proven to have, if it is within the
/// bound.
///
/// Bounds are whole milliseconds, so a staleness within a bound is still within it when printed,
/// rounded up to whole milliseconds.
fn staleness_within(
    bound: Option<Duration>,
    proven_at: Option<Instant>,
    now: Instant,
) -> Result<Option<Duration>, Unproven> {
    let staleness = proven_at.map(|at| now.saturating_duration_since(at));
    let within = bound.is_none_or(|bound| staleness.is_some_and(|age| age <= bound));
    within.then_some(staleness).ok_or(Unproven)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::NodeId;
    use tidegate_model::{Consistency, Lsn, SystemId, Timeline, WalPosition};

    const HALF: Option<Duration> = Some(ms(500));

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(lsn: u64) -> WalPosition {
        WalPosition {
            system: SystemId(1),
            timeline: Timeline(1),
            lsn: Lsn(lsn),
        }
    }

    /// A replica that has replayed a position, and is proven by a fence that was taken this long
    /// before `now`.
    fn replica(lsn: u64, now: Instant, proven: Option<Duration>) -> NodeStatus {
        NodeStatus {
            position: Some(at(lsn)),
            proven_at: proven.map(|ago| now - ago),
            ..NodeStatus::unknown(NodeId::Primary)
        }
    }

    fn judged(
        bound: Option<Duration>,
        before: Option<(u64, Option<Duration>)>,
        newest: (u64, Option<Duration>),
    ) -> Result<Option<Duration>, Unproven> {
        let now = Instant::now() + ms(10_000);
        let before = before.map(|(lsn, proven)| replica(lsn, now, proven));
        let newest = || Arc::new(replica(newest.0, now, newest.1));
        staleness_of_answer(bound, before.as_ref(), newest, now)
    }

    #[test]
    fn an_answer_is_as_old_as_its_proof_is_when_it_comes() {
        let proven = |ago| judged(HALF, Some((7, Some(ago))), (9, Some(ms(10))));
        assert_eq!(proven(ms(0)), Ok(Some(ms(0))));
        assert_eq!(proven(ms(500)), Ok(HALF));
        assert_eq!(proven(ms(501)), Err(Unproven));
    }

    #[test]
    fn what_is_within_the_bound_is_so_in_print() {
        let just_above = ms(500) + Duration::from_nanos(1);
        let judged = judged(HALF, Some((7, Some(just_above))), (9, None));
        assert_eq!(judged, Err(Unproven), "it would be printed as 0.501");
    }

    #[test]
    fn a_later_fence_proves_an_answer_if_the_replica_was_there_before_it_was_asked() {
        let old = Some(ms(600));
        let newest = |lsn| judged(HALF, Some((7, old)), (lsn, Some(ms(100))));
        assert_eq!(newest(7), Ok(Some(ms(100))));
        assert_eq!(newest(8), Err(Unproven), "the snapshot may be older");
        assert_eq!(newest(6), Err(Unproven), "another life");
        let unproven_before = judged(HALF, Some((7, None)), (7, Some(ms(100))));
        assert_eq!(unproven_before, Ok(Some(ms(100))));
    }

    #[test]
    fn a_later_fence_that_is_too_old_itself_proves_nothing() {
        let judged = judged(HALF, Some((7, Some(ms(900)))), (7, Some(ms(600))));
        assert_eq!(judged, Err(Unproven));
    }

    #[test]
    fn an_answer_of_another_life_is_proven_by_nothing() {
        assert_eq!(judged(HALF, None, (7, Some(ms(0)))), Err(Unproven));
        assert_eq!(judged(None, None, (7, Some(ms(0)))), Ok(None));
    }

    #[test]
    fn without_a_bound_an_answer_says_how_old_it_is_or_nothing() {
        assert_eq!(
            judged(None, Some((7, Some(ms(9_000)))), (7, None)),
            Ok(Some(ms(9_000)))
        );
        assert_eq!(judged(None, Some((7, None)), (7, None)), Ok(None));
    }

    #[test]
    fn a_replica_is_asked_only_for_what_is_known_of_the_life_that_answers() {
        let now = Instant::now() + ms(10_000);
        let decision = |max_staleness: Option<Duration>, token| Decision {
            consistency: max_staleness.map_or(Consistency::SESSION, Consistency::bounded),
            token,
            ..Decision::new(None, None, token, &http::Method::GET)
        };
        let fresh = replica(7, now, Some(ms(100)));
        let token = |lsn| RequestToken::Verified(at(lsn));
        for (bound, token, known, expected) in [
            (None, RequestToken::None, None, true),
            (HALF, RequestToken::None, None, false),
            (HALF, RequestToken::None, Some(&fresh), true),
            (Some(ms(99)), RequestToken::None, Some(&fresh), false),
            (None, token(7), None, false),
            (None, token(7), Some(&fresh), true),
            (None, token(8), Some(&fresh), false),
            (HALF, token(7), Some(&fresh), true),
            (Some(ms(99)), token(7), Some(&fresh), false),
        ] {
            let decision = decision(bound, token);
            assert_eq!(
                may_be_asked(&decision, known, now),
                expected,
                "{decision:?}"
            );
        }
    }
}
