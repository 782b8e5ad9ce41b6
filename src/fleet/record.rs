//! What a gateway says of itself.

use crate::digest::Digest;
use crate::dropped::Dropped;
use crate::gateway_id::GatewayId;
use crate::wire;

/// The longest drain: a day.
pub(crate) const DRAIN_SECONDS_MAX: u32 = 24 * 60 * 60;

/// What is true of a gateway or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayConditions(u8);

/// What a gateway says of itself at one time.
///
/// Records of one gateway are ordered, by their sequence before all else, and the merge of two is the
/// greater one: a join, so neither order nor repetition matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// From 1, one more with each record.
    pub sequence: u32,
    /// Its quantities.
    pub digest: Digest,
    /// What is true of it.
    pub conditions: GatewayConditions,
    /// The revision in force; 0 is the built-in policy or a file.
    pub revision: u32,
    /// Which of its region's drains it knows.
    pub drain_version: u32,
    /// How long that one still lasts.
    pub drain_seconds: u32,
}

impl GatewayConditions {
    /// It reaches the primary.
    pub const PRIMARY: Self = Self(1);
    /// It ends, and gets no new requests.
    pub const LEAVING: Self = Self(2);
    /// It suspects itself.
    pub const SUSPECT: Self = Self(4);
    /// Its region has a node of the database. Earlier versions do not say so.
    pub const DATABASE: Self = Self(8);

    const KNOWN: u8 = 15;

    /// Returns whether a condition is true.
    pub const fn has(self, condition: Self) -> bool {
        self.0 & condition.0 != 0
    }

    pub(crate) const fn with(self, condition: Self, holds: bool) -> Self {
        if holds {
            Self(self.0 | condition.0)
        } else {
            self
        }
    }
}

impl Record {
    /// Merges two records of one gateway.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        self.max(other)
    }

    /// Returns whether the record says something that an earlier one did not.
    pub(crate) fn differs_from(&self, earlier: &Self) -> bool {
        self.digest.has_moved_from(&earlier.digest) || self.is_urgent_after(earlier)
    }

    /// Returns whether something other than a quantity has changed.
    pub(crate) fn is_urgent_after(&self, earlier: &Self) -> bool {
        self.conditions != earlier.conditions
            || self.revision != earlier.revision
            || self.drain_version != earlier.drain_version
    }

    /// Takes what a peer sent.
    pub(crate) fn parse(sent: &wire::Record) -> Result<(GatewayId, Self), Dropped> {
        let conditions = u8::try_from(sent.conditions).ok().ok_or(Dropped::Range)?;
        if sent.sequence == 0 {
            return Err(Dropped::Sequence);
        }
        let record = Self {
            sequence: sent.sequence,
            digest: Digest::parse(&sent.quantities)?,
            conditions: GatewayConditions(conditions & GatewayConditions::KNOWN),
            revision: sent.revision,
            drain_version: sent.drain_version,
            drain_seconds: sent.drain_seconds.min(DRAIN_SECONDS_MAX),
        };
        Ok((GatewayId(sent.gateway), record))
    }

    pub(crate) fn sent_by(&self, gateway: GatewayId) -> wire::Record {
        wire::Record {
            gateway: gateway.0,
            sequence: self.sequence,
            quantities: self.digest.as_bytes().to_vec(),
            conditions: u32::from(self.conditions.0),
            revision: self.revision,
            drain_version: self.drain_version,
            drain_seconds: self.drain_seconds,
        }
    }
}
