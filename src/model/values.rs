//! How values of the file are read; an error states what is expected in place of the value.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

const DAY: Duration = Duration::from_secs(86_400);
const TICK: Duration = Duration::from_millis(1);

/// A value in the file.
#[derive(Clone, Copy)]
pub enum Given<'a> {
    /// A string.
    Text(&'a str),
    /// A whole number.
    Whole(i64),
    /// A number with a fraction.
    Decimal(f64),
}

/// Reads a value; `parse` returns it, or what is expected in its place. Anything but a string or a
/// number is refused with `expected`.
///
/// # Errors
/// States what is expected in place of the value.
pub fn value<'de, D: Deserializer<'de>, T>(
    from: D,
    expected: &str,
    parse: impl FnOnce(Given<'_>) -> Result<T, String>,
) -> Result<T, D::Error> {
    struct Value<'a, F>(&'a str, F);
    impl<T, F: FnOnce(Given<'_>) -> Result<T, String>> Visitor<'_> for Value<'_, F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            let refuse = |expected: String| E::invalid_value(Unexpected::Str(text), &&*expected);
            (self.1)(Given::Text(text)).map_err(refuse)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            let unexpected = Unexpected::Signed(number);
            let refuse = |expected: String| E::invalid_value(unexpected, &&*expected);
            (self.1)(Given::Whole(number)).map_err(refuse)
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
            let unexpected = Unexpected::Float(number);
            let refuse = |expected: String| E::invalid_value(unexpected, &&*expected);
            (self.1)(Given::Decimal(number)).map_err(refuse)
        }
    }
    from.deserialize_any(Value(expected, parse))
}

/// Like [`value`], with one text for what is expected in every case.
fn simple<'de, D: Deserializer<'de>, T>(
    from: D,
    expected: &str,
    parse: impl FnOnce(Given<'_>) -> Option<T>,
) -> Result<T, D::Error> {
    value(from, expected, |given| {
        parse(given).ok_or_else(|| expected.to_owned())
    })
}

/// Reads a duration from 1 ms to a day, such as `"30s"`.
///
/// # Errors
/// States what is expected in place of the value.
pub fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    duration_within(from, TICK..=DAY)
}

/// Like [`duration`], for a key that may be absent.
///
/// # Errors
/// See [`duration`].
pub fn duration_or_zero<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    duration_within(from, Duration::ZERO..=DAY)
}

fn duration_within<'de, D: Deserializer<'de>>(
    from: D,
    range: RangeInclusive<Duration>,
) -> Result<Duration, D::Error> {
    let [least, most] = [range.start(), range.end()].map(|d| humantime::format_duration(*d));
    let expected =
        format!("a duration from \"{least}\" to \"{most}\", such as \"1500ms\" or \"30s\"");
    simple(from, &expected, |given| match given {
        Given::Text(text) => humantime::parse_duration(text)
            .ok()
            .filter(|duration| range.contains(duration)),
        Given::Whole(_) | Given::Decimal(_) => None,
    })
}

/// Reads a number from 1 to 1,000,000.
///
/// # Errors
/// See [`duration`].
pub fn count<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    whole(from, 1_000_000)
}

/// Reads a number from 1 to 1,000.
///
/// # Errors
/// See [`duration`].
pub fn small_count<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    whole(from, 1_000)
}

fn whole<'de, D: Deserializer<'de>, N: TryFrom<i64>>(from: D, most: i64) -> Result<N, D::Error> {
    let expected = format!("a whole number from 1 to {most}");
    simple(from, &expected, |given| match given {
        Given::Whole(number) if (1..=most).contains(&number) => N::try_from(number).ok(),
        _ => None,
    })
}

/// Reads a number from 0 to 1.
///
/// # Errors
/// See [`duration`].
pub fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    simple(from, "a number from 0 to 1", |given| match given {
        Given::Whole(0) => Some(0.0),
        Given::Whole(1) => Some(1.0),
        Given::Decimal(share) if (0.0..=1.0).contains(&share) => Some(share),
        _ => None,
    })
}

/// Reads `"1MiB"` or `"64KiB"`; a bare number is refused because its unit would be a guess.
///
/// # Errors
/// See [`duration`].
pub fn byte_size<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let expected = "a size from \"1B\" to \"256MiB\" in B, KiB or MiB, such as \"1MiB\"";
    simple(from, expected, |given| match given {
        Given::Text(text) => parse_byte_size(text, 256 << 20),
        Given::Whole(_) | Given::Decimal(_) => None,
    })
}

/// Like [`byte_size`], with a larger maximum; 0 needs no unit.
///
/// # Errors
/// See [`duration`].
pub fn byte_size_or_zero<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let expected = "a size up to \"65536MiB\" in B, KiB or MiB, such as \"64MiB\", or 0";
    simple(from, expected, |given| match given {
        Given::Whole(0) | Given::Text("0B") => Some(0),
        Given::Text(text) => parse_byte_size(text, 65_536 << 20),
        Given::Whole(_) | Given::Decimal(_) => None,
    })
}

fn parse_byte_size(text: &str, most: usize) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: usize = match &text[digits.len()..] {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    let size = digits.parse::<usize>().ok()?.checked_mul(unit)?;
    (1..=most).contains(&size).then_some(size)
}
