//! Keys and what follows from their hashes: a key's region, and when a ramp admits it.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998): a key's region is the one for which the hash of
//! both is greatest, so that a region that leaves moves only its own keys, and one that returns
//! gets exactly those back. SipHash-2-4 with fixed keys is the same on every gateway and in every
//! release; changing a key here moves all clients of all fleets.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

const KEY: &[u8; 16] = b"tidegate:key\0\0\0\0";
const PLACE: &[u8; 16] = b"tidegate:place\0\0";
const RAMP: &[u8; 16] = b"tidegate:ramp\0\0\0";

/// The end of a ramp: positions are from 0 to this.
pub const RAMP_END: u16 = 10_000;

/// An affinity key, hashed: all that a decision needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub u64);

impl Key {
    /// Hashes the bytes of a cookie, header, path or address.
    pub fn of(bytes: &[u8]) -> Self {
        Self(SipHasher24::new_with_key(KEY).hash(bytes))
    }

    /// Returns whether a ramp at `position` admits the key.
    pub fn is_let_in(self, position: u16) -> bool {
        let hash = SipHasher24::new_with_key(RAMP).hash(&self.0.to_le_bytes());
        hash % u64::from(RAMP_END) < u64::from(position)
    }
}

/// A region's part of the hash, computed once: that of its name, padded with zeros to whole blocks
/// so that no remainder has to be mixed with each key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rendezvous(SipHasher24);

impl Rendezvous {
    pub(crate) fn new(region: &str) -> Self {
        let mut hasher = SipHasher24::new_with_key(PLACE);
        let (blocks, rest) = region.as_bytes().as_chunks::<8>();
        for block in blocks {
            hasher.write(block);
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hasher.write(&last);
        Self(hasher)
    }

    /// Returns the region's score for a key: the greatest one wins.
    #[inline]
    pub(crate) fn score(&self, key: Key) -> u64 {
        let mut hasher = self.0;
        hasher.write_u64(key.0);
        hasher.finish()
    }

    /// Returns the score if regions have weights: each wins in proportion to its weight.
    ///
    /// The logarithm is computed in software (musl's, in `libm`), so that it is identical to the
    /// last bit everywhere.
    pub(crate) fn weighted_score(&self, key: Key, weight: u32) -> f64 {
        /// 53 bits, which a double represents exactly.
        const SCALE: f64 = (1u64 << 53) as f64;
        let share = ((self.score(key) >> 11) as f64 + 0.5) / SCALE;
        libm::log(share) / f64::from(weight)
    }
}
