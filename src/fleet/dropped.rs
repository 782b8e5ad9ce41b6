//! What of a peer's words is not taken in, and why.

/// Why something that a peer sent was dropped; the labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It speaks for a gateway that is not its own to speak for.
    FleetRegion,
    /// Its sequence is none, or too far ahead.
    Sequence,
    /// A value is outside its range.
    Range,
    /// It does not parse.
    Malformed,
    /// There are too many updates, records or gateways.
    Flood,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::FleetRegion,
        Self::Sequence,
        Self::Range,
        Self::Malformed,
        Self::Flood,
    ];

    /// Returns the reason's name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FleetRegion => "region",
            Self::Sequence => "sequence",
            Self::Range => "range",
            Self::Malformed => "malformed",
            Self::Flood => "flood",
        }
    }
}

/// How often something was dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DroppedCounts([u64; Dropped::ALL.len()]);

impl DroppedCounts {
    /// Returns how often something was dropped for a reason.
    pub fn get(&self, reason: Dropped) -> u64 {
        self.0[reason as usize]
    }

    pub(crate) fn add(&mut self, reason: Dropped, count: usize) {
        self.0[reason as usize] += count as u64;
    }
}
