//! Numbers of bytes as operators write them.

use std::fmt;
use std::str::FromStr;

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A number of bytes, such as `1TiB`; fits into a `bigint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteCount(pub u64);

impl FromStr for ByteCount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected a number of bytes with its unit, such as 500GiB or 1TiB";
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
        let (unit, bytes) = unit.ok_or(expected)?;
        let number = text.trim_end_matches(unit).trim_end();
        let number: u64 = number.parse().map_err(|_unparsable| expected)?;
        let all = number.checked_mul(*bytes).ok_or(expected)?;
        match i64::try_from(all) {
            Ok(_) => Ok(Self(all)),
            Err(_) => Err(expected),
        }
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |&&(_, unit): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(unit);
        match UNITS[..4].iter().find(whole) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_needs_its_unit_and_is_written_as_it_is_read() {
        for (text, bytes) in [
            ("1TiB", 1 << 40),
            ("500GiB", 500 << 30),
            ("7B", 7),
            ("0B", 0),
        ] {
            assert_eq!(text.parse(), Ok(ByteCount(bytes)));
            assert_eq!(ByteCount(bytes).to_string(), text);
        }
        assert_eq!("2GB".parse(), Ok(ByteCount(2_000_000_000)));
        for text in ["", "1", "GiB", "-1B", "1.5GiB", "99999999999TiB"] {
            assert!(text.parse::<ByteCount>().is_err(), "{text}");
        }
    }
}
