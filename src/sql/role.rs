//! The role in which a server answered, and the position that its answer shows. Pure.

use super::Position;
use tidegate_model::{RequestToken, SystemId, Timeline, WalPosition};

/// The assumptions under which a statement was sent to a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskedAs {
    /// Whether it was contacted as the primary.
    pub(super) primary: bool,
    /// Whether its known state is that of the server life that got the statement.
    pub(super) current: bool,
    /// Whether the statement may not write.
    pub(super) safe: bool,
    /// The timeline that the request was planned with.
    pub(super) timeline: Option<Timeline>,
}

/// For a primary: whether it was the primary of the timeline that the request was planned with, and
/// no later timeline has become known meanwhile (`newest`). For a replica: whether it still was
/// one.
///
/// Without a position, a write is proof in itself, since it begins only on such a server. So is the
/// life of the server: it was seen in its role, and within one life a server returns neither to
/// recovery nor to an earlier timeline.
pub(super) fn is_as_asked(
    asked: AskedAs,
    shown: Option<Position>,
    newest: impl FnOnce() -> Option<Timeline>,
) -> bool {
    let shown = shown.map(|position| position.timeline);
    if !asked.primary {
        return !matches!(shown, Some(Some(_promoted)));
    }
    let shown_or_known = match shown {
        Some(shown) => shown == asked.timeline,
        None => asked.current || !asked.safe,
    };
    shown_or_known && newest() == asked.timeline
}

/// The newer of the position that the request had seen and the one that an answer showed. `known` is
/// the last position of the node that answered, `system` the cluster according to its history.
pub(super) fn newest_seen(
    token: RequestToken,
    shown: Position,
    known: Option<WalPosition>,
    system: Option<SystemId>,
) -> Option<WalPosition> {
    let shown = match (known, system) {
        (Some(known), _) => WalPosition {
            system: known.system,
            timeline: shown.timeline.unwrap_or(known.timeline),
            lsn: shown.lsn,
        },
        (None, Some(system)) => WalPosition {
            system,
            timeline: shown.timeline?,
            lsn: shown.lsn,
        },
        (None, None) => return None,
    };
    Some(match token {
        RequestToken::Verified(token)
            if (token.system, token.timeline) == (shown.system, shown.timeline) =>
        {
            WalPosition {
                lsn: token.lsn.max(shown.lsn),
                ..shown
            }
        }
        RequestToken::Verified(_) | RequestToken::Unverifiable | RequestToken::None => shown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::Lsn;

    const ONE: Option<Timeline> = Some(Timeline(1));
    const TWO: Option<Timeline> = Some(Timeline(2));

    fn shows(timeline: Option<Timeline>) -> Option<Position> {
        let lsn = Lsn(7);
        Some(Position { lsn, timeline })
    }

    fn asked(primary: bool, current: bool, safe: bool) -> AskedAs {
        AskedAs {
            primary,
            current,
            safe,
            timeline: ONE,
        }
    }

    #[test]
    fn a_primary_must_show_the_timeline_that_the_request_was_judged_by() {
        let primary = asked(true, true, true);
        assert!(is_as_asked(primary, shows(ONE), || ONE));
        assert!(!is_as_asked(primary, shows(TWO), || ONE));
        assert!(!is_as_asked(primary, shows(None), || ONE), "in recovery");
        assert!(!is_as_asked(primary, shows(ONE), || TWO), "a promotion");
    }

    #[test]
    fn without_a_position_the_life_of_the_server_or_the_write_says_it() {
        let asked = |current, safe| is_as_asked(asked(true, current, safe), None, || ONE);
        assert!(asked(true, true) && asked(false, false));
        assert!(!asked(false, true));
    }

    #[test]
    fn a_replica_that_shows_a_timeline_was_promoted() {
        let replica = asked(false, true, true);
        assert!(is_as_asked(replica, shows(None), || TWO));
        assert!(is_as_asked(replica, None, || TWO));
        assert!(!is_as_asked(replica, shows(ONE), || ONE));
    }

    #[test]
    fn a_token_never_goes_back_within_a_timeline() {
        let at = |timeline, lsn| WalPosition {
            system: SystemId(1),
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
        };
        let shown = Position {
            lsn: Lsn(7),
            timeline: None,
        };
        let seen = |token| newest_seen(token, shown, Some(at(1, 5)), None);
        assert_eq!(seen(RequestToken::None), Some(at(1, 7)));
        assert_eq!(seen(RequestToken::Verified(at(1, 9))), Some(at(1, 9)));
        assert_eq!(seen(RequestToken::Verified(at(2, 9))), Some(at(1, 7)));
    }

    #[test]
    fn a_position_of_an_unknown_cluster_is_none() {
        let seen = |known, system| {
            let shown = shows(ONE).unwrap();
            newest_seen(RequestToken::None, shown, known, system)
        };
        assert_eq!(seen(None, None), None);
        assert_eq!(seen(None, Some(SystemId(3))).unwrap().system, SystemId(3));
    }
}
