//! Which keys belong to the new plan.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;
use tidegate_traffic::hash::Key;

/// The other half of the hash's key.
const SHARE: u64 = u64::from_le_bytes(*b"rollout\0");

/// Returns whether a key belongs to the new plan of a rollout at a share of 10,000.
///
/// A key that belongs to it at some share does so at every greater one, so it changes once; in the next
/// rollout others come first.
#[must_use]
pub fn belongs_to_new(rollout: u64, key: Key, share: u16) -> bool {
    let mut hasher = SipHasher24::new_with_keys(rollout, SHARE);
    hasher.write_u64(key.0.to_le());
    hasher.finish() % u64::from(crate::SHARE_ALL) < u64::from(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_rollout(rollout: u64, share: u16) -> Vec<u64> {
        let keys = 0..10_000_u64;
        keys.filter(|key| belongs_to_new(rollout, Key(*key), share))
            .collect()
    }

    #[test]
    fn a_share_of_the_keys_belongs_to_it_and_stays_with_it() {
        assert!(of_rollout(1, 0).is_empty());
        assert_eq!(of_rollout(1, 10_000).len(), 10_000);
        let (few, more) = (of_rollout(1, 500), of_rollout(1, 2_500));
        assert!((400..600).contains(&few.len()), "{}", few.len());
        assert!((2_300..2_700).contains(&more.len()), "{}", more.len());
        assert!(few.iter().all(|key| more.contains(key)));
    }

    #[test]
    fn in_the_next_rollout_other_keys_come_first() {
        let (one, next) = (of_rollout(1, 500), of_rollout(2, 500));
        let both = one.iter().filter(|key| next.contains(key)).count();
        assert!(both < 60, "{both}");
    }
}
