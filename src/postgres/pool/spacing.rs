//! How fast connections to one node are opened, so that a node that has just come back is not
//! flooded: pure.

use std::time::Duration;

use tokio::time::Instant;

/// Limits how many events begin within a second, although these may begin at once: the generic cell
/// rate algorithm (ITU-T I.371), which needs one instant. The crate that rate limits use cannot
/// reserve a future slot, so waiting tasks would compete for every slot.
#[derive(Debug)]
pub(super) struct Spacing {
    interval: Duration,
    burst: Duration,
    /// When everything that was admitted would be done at the steady rate.
    busy_until: Option<Instant>,
}

impl Spacing {
    pub(super) fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            burst: Duration::from_secs(1) - interval,
            busy_until: None,
        }
    }

    /// Takes the next slot and returns how long to wait for it; none if that exceeds the patience.
    pub(super) fn take(&mut self, patience: Duration, now: Instant) -> Option<Duration> {
        let idle_from = self.busy_until.map_or(now, |until| until.max(now));
        let wait = idle_from
            .saturating_duration_since(now)
            .saturating_sub(self.burst);
        let taken = wait <= patience;
        if taken {
            self.busy_until = Some(idle_from + self.interval);
        }
        taken.then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn in_any_second_there_are_as_many_as_allowed_twice_at_most(
            per_second in 1_u32..50,
            pauses in prop::collection::vec(0_u64..200, 1..300),
        ) {
            let mut now = Instant::now();
            let mut spacing = Spacing::new(per_second);
            let mut begun: Vec<Instant> = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                begun.extend(spacing.take(Duration::MAX, now).map(|wait| now + wait));
            }
            for (index, first) in begun.iter().enumerate() {
                let second = begun[index..].iter().take_while(|it| **it - *first < Duration::from_secs(1));
                prop_assert!(second.count() <= 2 * per_second as usize);
            }
        }
    }

    #[test]
    fn a_burst_need_not_wait_and_what_follows_it_does() {
        let now = Instant::now();
        let mut spacing = Spacing::new(20);
        let mut wait = |patience, now| spacing.take(patience, now);
        assert!((0..20).all(|_| wait(Duration::ZERO, now) == Some(Duration::ZERO)));
        assert_eq!(wait(Duration::ZERO, now), None);
        assert_eq!(wait(Duration::MAX, now), Some(Duration::from_millis(50)));
        assert_eq!(wait(Duration::MAX, now), Some(Duration::from_millis(100)));
        let later = now + Duration::from_secs(2);
        assert_eq!(wait(Duration::ZERO, later), Some(Duration::ZERO));
    }
}
