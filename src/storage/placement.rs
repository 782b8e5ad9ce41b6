//! Which members get a write, in the order in which they are tried: pure.

use super::WritePolicy;

/// A member as a placement sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemberView {
    /// Bytes written in this month.
    pub(super) written: u64,
    /// Bytes of this month up to which it is preferred.
    pub(super) soft_limit: Option<u64>,
    /// Bytes stored, reserved and not yet swept.
    pub(super) held: u64,
    /// Bytes that it may hold.
    pub(super) quota: Option<u64>,
    /// Whether it takes writes: it has not named a quota in this month.
    pub(super) writes: bool,
    /// Whether it works, as far as is known.
    pub(super) healthy: bool,
    /// Whether the repository's rule for the key names it.
    pub(super) allowed: bool,
    /// Its place among all by speed, the fastest first.
    pub(super) rank: usize,
}

impl MemberView {
    fn has_room(&self, bytes: u64) -> bool {
        let fits = |quota: u64| self.held.saturating_add(bytes) <= quota;
        self.allowed && self.writes && self.quota.is_none_or(fits)
    }

    fn under_soft_cap(&self) -> bool {
        self.soft_limit.is_none_or(|limit| self.written < limit)
    }
}

/// Returns the members that may get a write of so many bytes, the best first. What is known may be some
/// seconds old: the reservation decides.
///
/// Members under their soft cap come before those over it, and of each those that work come first. Among
/// equals, `credit` takes them in order while one is under its soft cap, and else the last with quota
/// left, since it is the one that money was meant for; the other policies take the fastest.
pub(super) fn order(policy: WritePolicy, members: &[MemberView], bytes: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..members.len())
        .filter(|&index| members[index].has_room(bytes))
        .collect();
    order.sort_by_key(|&index| {
        let member = &members[index];
        let over = !member.under_soft_cap();
        let preference = match policy {
            WritePolicy::Credit if over => usize::MAX - index,
            WritePolicy::Credit => index,
            WritePolicy::Nearest | WritePolicy::Copies(_) => member.rank,
        };
        (over, !member.healthy, preference)
    });
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEMBER: MemberView = MemberView {
        written: 0,
        soft_limit: Some(80),
        held: 0,
        quota: Some(1_000),
        writes: true,
        healthy: true,
        allowed: true,
        rank: 0,
    };

    fn written(written: u64) -> MemberView {
        MemberView { written, ..MEMBER }
    }

    #[test]
    fn the_first_member_under_its_soft_cap_gets_the_write() {
        let members = [written(80), written(79), written(0)];
        assert_eq!(order(WritePolicy::Credit, &members, 1), [1, 2, 0]);
    }

    #[test]
    fn with_all_over_their_soft_caps_the_last_with_quota_left_gets_it() {
        let full = MemberView {
            held: 1_000,
            ..written(90)
        };
        let members = [written(90), written(90), full];
        assert_eq!(order(WritePolicy::Credit, &members, 1), [1, 0]);
    }

    #[test]
    fn a_member_without_quota_or_refusing_or_not_named_by_the_rule_gets_none() {
        let full = MemberView {
            held: 991,
            ..MEMBER
        };
        let refusing = MemberView {
            writes: false,
            ..MEMBER
        };
        let other = MemberView {
            allowed: false,
            ..MEMBER
        };
        let members = [full, refusing, other];
        assert!(order(WritePolicy::Credit, &members, 10).is_empty());
        assert_eq!(order(WritePolicy::Credit, &members, 9), [0]);
    }

    #[test]
    fn a_member_that_failed_comes_after_those_that_work_but_before_those_over_their_cap() {
        let failed = MemberView {
            healthy: false,
            ..MEMBER
        };
        let members = [written(90), failed, MEMBER];
        assert_eq!(order(WritePolicy::Credit, &members, 1), [2, 1, 0]);
    }

    #[test]
    fn nearest_and_copies_take_the_fastest() {
        let members = [2, 0, 1].map(|rank| MemberView { rank, ..MEMBER });
        assert_eq!(order(WritePolicy::Nearest, &members, 1), [1, 2, 0]);
        assert_eq!(order(WritePolicy::Copies(2), &members, 1), [1, 2, 0]);
    }

    proptest! {
        #[test]
        fn no_write_goes_where_it_would_exceed_the_quota(
            held in proptest::collection::vec(0..2_000_u64, 1..6), bytes in 0..2_000_u64,
        ) {
            let members: Vec<_> = held.iter().map(|&held| MemberView { held, ..MEMBER }).collect();
            for index in order(WritePolicy::Credit, &members, bytes) {
                prop_assert!(members[index].held + bytes <= 1_000);
            }
        }
    }
}
