//! Positions in the write-ahead log, and the history they belong to.
//!
//! Positions are compared, never measured in bytes.

use std::fmt;
use std::str::FromStr;

/// Marks a byte position in the write-ahead log.
///
/// Two are comparable only within one system and one timeline; see [`WalPosition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// PostgreSQL's WAL page size, unless it was compiled with another.
const PAGE_BYTES: u64 = 8192;
/// The header of a WAL page, and of the first page of a segment.
const PAGE_HEADERS: [u64; 2] = [24, 40];

impl Lsn {
    /// Returns the position at which a replica stops after replaying everything before this one.
    ///
    /// When the last record ends with a page, the insert LSN is that of the next record, behind the
    /// next page's header, while replay stops at the page's start. Taking the start proves no less.
    /// A replica between the two would have replayed a record that ends there. No record ends
    /// within a header. After a short header (24) one could end at 32 or 40, but only as the rest
    /// of a record from the previous page. Then no record ends at the page's start, and no second
    /// one can end between 24 and 40, since a record has at least 24 bytes.
    #[must_use]
    pub fn reachable_by_replay(self) -> Self {
        let offset = self.0 % PAGE_BYTES;
        if PAGE_HEADERS.contains(&offset) {
            return Self(self.0 - offset);
        }
        self
    }
}

impl From<u64> for Lsn {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & u64::from(u32::MAX))
    }
}

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Self, LsnError> {
        let (high, low) = text.split_once('/').ok_or(LsnError)?;
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

/// A text is not an LSN as PostgreSQL prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an LSN is two hexadecimal numbers of at most eight digits, such as 16/B374D848")]
pub struct LsnError;

/// Numbers one branch of a cluster's history; every promotion begins the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeline(pub u32);

impl From<u32> for Timeline {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies a database cluster: assigned by `initdb`, shared by a primary and its physical
/// replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(pub u64);

impl From<u64> for SystemId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Marks a point in one cluster's history.
///
/// It has no order of its own: which of two positions is later depends on where the timelines
/// branched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WalPosition {
    /// The cluster.
    pub system: SystemId,
    /// The branch of its history.
    pub timeline: Timeline,
    /// The position on that branch.
    pub lsn: Lsn,
}

impl fmt::Display for WalPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "system {} timeline {} lsn {}",
            self.system, self.timeline, self.lsn
        )
    }
}

/// Parses one side of the slash. The digits are checked here since `from_str_radix` takes a sign.
fn half(digits: &str) -> Result<u64, LsnError> {
    let well_formed =
        matches!(digits.len(), 1..=8) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !well_formed {
        return Err(LsnError);
    }
    u64::from_str_radix(digits, 16).or(Err(LsnError))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_lsn_reads_as_postgresql_prints_it() {
        assert_eq!("16/B374D848".parse(), Ok(Lsn(0x16_B374_D848)));
        assert_eq!("0/0".parse(), Ok(Lsn(0)));
        assert_eq!("ffffffff/ffffffff".parse(), Ok(Lsn(u64::MAX)));
        assert_eq!(Lsn(0x16_B374_D848).to_string(), "16/B374D848");
    }

    #[test]
    fn the_low_half_is_not_padded_away() {
        assert_eq!("1/00000010".parse(), Ok(Lsn(0x1_0000_0010)));
        assert!("1/0".parse::<Lsn>().unwrap() > "0/FFFFFFFF".parse().unwrap());
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "/",
            "1",
            "1/",
            "/1",
            "1/2/3",
            "+1/2",
            "-1/2",
            "g/1",
            "123456789/0",
            " 1/2",
        ] {
            assert_eq!(text.parse::<Lsn>(), Err(LsnError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_cancel_out(bytes: u64) {
            prop_assert_eq!(Lsn(bytes).to_string().parse(), Ok(Lsn(bytes)));
        }
    }
}
