//! What this gateway sees of another region, and how it asks one that has left.

use std::time::Duration;

use tidegate_traffic::health::{Outcome, Quantities, Samples};

use crate::paths::Paths;

/// A gateway's own evidence is looked at four times a second.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);

/// Probes of a region in a second, of all gateways together, and the longest time between two of one.
const PROBES_A_SECOND: u32 = 25;
const PROBE_EVERY_MAX: Duration = Duration::from_secs(10);

/// Requests that are under way to a region.
const LOST_MAX: u32 = 2_000;

/// Within so long a region whose tunnels were lost one by one cannot be reached.
const MOMENT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    samples: Option<Box<Samples>>,
    /// Requests that were lost with a tunnel, and when the first of them was.
    lost: Option<(u32, Duration)>,
    quantities: Option<Quantities>,
    looked_at: Duration,
    /// What probes ask for.
    pub(crate) paths: Paths,
    next_probe: Option<Duration>,
}

impl Seen {
    /// Takes in how a request ended that was handed there.
    pub(crate) fn add(&mut self, outcome: Outcome, time: Duration, now: Duration) {
        let samples = self.samples.get_or_insert_default();
        samples.add(outcome, time, now);
    }

    /// Takes in that requests were lost with a tunnel.
    pub(crate) fn lose(&mut self, requests: u32, now: Duration) {
        let (known, since) = self.lost.unwrap_or((0, now));
        let requests = known.saturating_add(requests).min(LOST_MAX);
        self.lost = Some((requests, since));
    }

    /// Looks at the samples, if it is time.
    pub(crate) fn look(&mut self, reachable: bool, primary_elsewhere: bool, now: Duration) {
        self.judge_lost(reachable, now);
        let Some(samples) = &self.samples else {
            return;
        };
        if now.saturating_sub(self.looked_at) >= LOOKED_AT_EVERY {
            self.looked_at = now;
            self.quantities = Some(samples.quantities(primary_elsewhere, now));
        }
    }

    /// What was lost when the region could not be reached is no evidence besides: it leaves by that.
    fn judge_lost(&mut self, reachable: bool, now: Duration) {
        let Some((requests, since)) = self.lost else {
            return;
        };
        if !reachable {
            self.lost = None;
        } else if now.saturating_sub(since) > MOMENT {
            self.lost = None;
            for _ in 0..requests {
                self.add(Outcome::Failed, Duration::ZERO, now);
            }
        }
    }

    pub(crate) fn quantities(&self) -> Quantities {
        self.quantities.unwrap_or(Quantities::NONE)
    }

    /// Returns whether a probe of a region that has left is due, one of `gateways` doing its share.
    ///
    /// `phase` is the part of the time between two that passes before the first one, so that the
    /// gateways of a fleet do not ask all at once.
    pub(crate) fn probe_is_due(
        &mut self,
        left: bool,
        gateways: u32,
        phase: f64,
        now: Duration,
    ) -> bool {
        if !left {
            self.next_probe = None;
            return false;
        }
        let every = Duration::from_secs(gateways.max(1).into()) / PROBES_A_SECOND;
        let every = every.min(PROBE_EVERY_MAX);
        let next = *self.next_probe.get_or_insert(now + every.mul_f64(phase));
        if now < next {
            return false;
        }
        // Steps of the clock are longer than it may be between two: what is missed then is not made up.
        self.next_probe = Some((next + every).max(now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(gateways: u32, seconds: u64) -> usize {
        let mut seen = Seen::default();
        let ticks = (0..seconds * 20).map(|tick| Duration::from_millis(tick * 50));
        ticks
            .filter(|now| seen.probe_is_due(true, gateways, 0.5, *now))
            .count()
    }

    #[test]
    fn a_gateway_does_its_share_of_25_probes_a_second_and_one_in_ten_seconds_at_least() {
        assert_eq!(probes(25, 100), 100);
        assert_eq!(probes(200, 80), 10);
        assert_eq!(probes(1_000, 100), 10);
    }
}
