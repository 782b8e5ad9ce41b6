//! The smallest round trip of the last hour.

use std::time::Duration;

/// An hour, in parts.
const PART: Duration = Duration::from_secs(10 * 60);
const PARTS: usize = 6;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundTrips {
    /// The part of all time since the start that each holds, and the smallest round trip in it.
    parts: [Option<(u64, Duration)>; PARTS],
}

impl RoundTrips {
    pub(crate) fn add(&mut self, round_trip: Duration, now: Duration) {
        let number = part(now);
        let part = &mut self.parts[(number % PARTS as u64) as usize];
        let known = part.filter(|(of, _)| *of == number);
        let smallest = known.map_or(round_trip, |(_, known)| known.min(round_trip));
        *part = Some((number, smallest));
    }

    pub(crate) fn smallest(&self, now: Duration) -> Option<Duration> {
        let newest = part(now);
        let parts = self.parts.iter().flatten();
        let recent = parts.filter(|(number, _)| number + PARTS as u64 > newest);
        recent.map(|(_, smallest)| *smallest).min()
    }
}

fn part(now: Duration) -> u64 {
    now.as_secs() / PART.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_round_trip_is_forgotten_after_an_hour() {
        let (short, long) = (Duration::from_millis(3), Duration::from_millis(9));
        let mut trips = RoundTrips::default();
        trips.add(short, Duration::from_secs(10));
        trips.add(long, Duration::from_secs(3_000));
        let smallest = |at| trips.smallest(Duration::from_secs(at));
        assert_eq!(smallest(3_599), Some(short));
        assert_eq!(smallest(3_600), Some(long));
        assert_eq!(smallest(7_200), None);
    }
}
