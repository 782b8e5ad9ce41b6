//! What follows a failure: pure, the table of the tunnels' contract.

use super::TunnelFailure;
use crate::http::Unprocessed;

/// The state of a request when it has failed in a region.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Whether it is a GET, HEAD or OPTIONS without a body.
    pub safe: bool,
    /// Whether all of it can be sent again: its body was kept, or no byte of it was read.
    pub whole: bool,
    /// Whether any of it was sent.
    pub sent: bool,
    /// In how many regions it has failed that it may have reached, this one among them.
    pub failed: usize,
    /// In how many regions it may be tried although one may have acted on it.
    pub regions_max: usize,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next region of the order, if there is one.
    Region {
        /// Whether the retry budget pays for it.
        paid: bool,
        /// What the client gets if there is none.
        end: End,
    },
    /// The end.
    End(End),
}

/// What the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer of the region that says that nothing was done.
    Answer,
    /// 503: nothing was done, or it may be sent again.
    Unavailable,
    /// 502: whether it took effect is not known.
    Unknown,
    /// 504.
    Deadline,
}

/// Decides what follows a failure.
#[must_use]
pub fn next(failure: TunnelFailure, circumstances: &Circumstances) -> Next {
    let Circumstances { safe, whole, .. } = *circumstances;
    let unknown = match circumstances.sent {
        true => End::Unknown,
        false => End::Unavailable,
    };
    let elsewhere = |paid, end| Next::Region { paid, end };
    match failure {
        // Not one of the further regions: it was sent nowhere.
        TunnelFailure::NoTunnel if safe || whole => elsewhere(false, End::Unavailable),
        TunnelFailure::NoTunnel => Next::End(End::Unavailable),
        TunnelFailure::Unprocessed(Unprocessed::Overloaded)
            if safe && circumstances.may_go_on(false) =>
        {
            elsewhere(true, End::Answer)
        }
        TunnelFailure::Unprocessed(Unprocessed::Overloaded) => Next::End(End::Answer),
        TunnelFailure::Unprocessed(_) if (safe || whole) && circumstances.may_go_on(true) => {
            elsewhere(false, End::Answer)
        }
        TunnelFailure::Unprocessed(_) => Next::End(End::Answer),
        TunnelFailure::Reset | TunnelFailure::Lost if !safe => match circumstances.sent || !whole {
            true => Next::End(unknown),
            false => elsewhere(false, unknown),
        },
        TunnelFailure::Reset | TunnelFailure::Lost if circumstances.may_go_on(false) => {
            elsewhere(failure == TunnelFailure::Reset, End::Unavailable)
        }
        TunnelFailure::Reset | TunnelFailure::Lost => Next::End(End::Unavailable),
        TunnelFailure::NoTime => Next::End(End::Deadline),
        TunnelFailure::Deadline if safe || !circumstances.sent => Next::End(End::Deadline),
        TunnelFailure::Deadline => Next::End(End::Unknown),
    }
}

impl Circumstances {
    /// Whether a further region may be asked; where nothing was done, one always may.
    fn may_go_on(&self, nothing_done: bool) -> bool {
        let regions_max = match nothing_done {
            true => self.regions_max.max(2),
            false => self.regions_max,
        };
        self.failed < regions_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: Circumstances = Circumstances {
        safe: true,
        whole: true,
        sent: true,
        failed: 1,
        regions_max: 2,
    };
    /// An unsafe request whose body was kept.
    const KEPT: Circumstances = Circumstances {
        safe: false,
        ..SAFE
    };
    /// An unsafe request whose body is gone.
    const GONE: Circumstances = Circumstances {
        whole: false,
        ..KEPT
    };

    const FREE_OR_UNAVAILABLE: Next = Next::Region {
        paid: false,
        end: End::Unavailable,
    };
    const FREE_OR_ANSWER: Next = Next::Region {
        paid: false,
        end: End::Answer,
    };

    #[test]
    fn what_no_tunnel_has_taken_goes_to_the_next_region_while_it_is_whole() {
        let far = Circumstances { failed: 9, ..SAFE };
        for circumstances in [SAFE, KEPT, far] {
            assert_eq!(
                next(TunnelFailure::NoTunnel, &circumstances),
                FREE_OR_UNAVAILABLE
            );
        }
        let end = Next::End(End::Unavailable);
        assert_eq!(next(TunnelFailure::NoTunnel, &GONE), end);
    }

    #[test]
    fn where_nothing_was_done_the_next_region_is_asked_without_charge() {
        for why in [Unprocessed::NoNode, Unprocessed::NoPrimary] {
            let failure = TunnelFailure::Unprocessed(why);
            assert_eq!(next(failure, &SAFE), FREE_OR_ANSWER);
            assert_eq!(next(failure, &KEPT), FREE_OR_ANSWER);
            assert_eq!(next(failure, &GONE), Next::End(End::Answer));
            // Once, even if the policy says never.
            let never = Circumstances {
                regions_max: 1,
                ..SAFE
            };
            assert_eq!(next(failure, &never), FREE_OR_ANSWER);
            let again = Circumstances { failed: 2, ..never };
            assert_eq!(next(failure, &again), Next::End(End::Answer));
        }
    }

    #[test]
    fn an_overload_and_a_reset_are_retried_from_the_budget_and_only_if_safe() {
        let overloaded = TunnelFailure::Unprocessed(Unprocessed::Overloaded);
        let paid = |end| Next::Region { paid: true, end };
        assert_eq!(next(overloaded, &SAFE), paid(End::Answer));
        assert_eq!(next(overloaded, &KEPT), Next::End(End::Answer));
        assert_eq!(next(TunnelFailure::Reset, &SAFE), paid(End::Unavailable));
        assert_eq!(next(TunnelFailure::Reset, &KEPT), Next::End(End::Unknown));
        let spent = Circumstances { failed: 2, ..SAFE };
        assert_eq!(next(overloaded, &spent), Next::End(End::Answer));
        assert_eq!(
            next(TunnelFailure::Reset, &spent),
            Next::End(End::Unavailable)
        );
    }

    #[test]
    fn a_lost_tunnel_costs_a_safe_request_nothing_and_leaves_another_unknown() {
        assert_eq!(next(TunnelFailure::Lost, &SAFE), FREE_OR_UNAVAILABLE);
        for circumstances in [KEPT, GONE] {
            assert_eq!(
                next(TunnelFailure::Lost, &circumstances),
                Next::End(End::Unknown)
            );
        }
        let unsent = Circumstances {
            sent: false,
            ..KEPT
        };
        assert_eq!(next(TunnelFailure::Lost, &unsent), FREE_OR_UNAVAILABLE);
    }

    #[test]
    fn a_deadline_ends_every_request() {
        assert_eq!(
            next(TunnelFailure::Deadline, &SAFE),
            Next::End(End::Deadline)
        );
        assert_eq!(
            next(TunnelFailure::Deadline, &KEPT),
            Next::End(End::Unknown)
        );
        let unsent = Circumstances {
            sent: false,
            ..GONE
        };
        assert_eq!(
            next(TunnelFailure::Deadline, &unsent),
            Next::End(End::Deadline)
        );
        assert_eq!(next(TunnelFailure::NoTime, &KEPT), Next::End(End::Deadline));
    }
}
