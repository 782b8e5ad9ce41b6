//! The forms in which values stand in the file: each reads and writes one, and says what may stand there.
//! A refusal says what is expected in place of the value.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

const DAY: Duration = Duration::from_secs(86_400);
const TICK: Duration = Duration::from_millis(1);

/// How values of one kind stand in the file.
pub trait Form<T> {
    /// The unit and the range, in words.
    fn range(&self) -> String;

    /// The value as the file writes it.
    fn written(&self, value: &T) -> String;

    /// Reads a value.
    ///
    /// # Errors
    /// Says what is expected in place of the value.
    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<T, D::Error>;
}

/// What stands in the file.
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

/// A duration such as `"30s"`, up to a day.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// The least that is accepted.
    pub least: Duration,
}

/// A duration from 1 ms to a day.
pub const DURATION: Time = Time { least: TICK };

/// As [`DURATION`], or none at all.
pub const DURATION_OR_ZERO: Time = Time {
    least: Duration::ZERO,
};

impl Form<Duration> for Time {
    fn range(&self) -> String {
        let [least, most] = [self.least, DAY].map(in_one_unit);
        format!("a duration, {least} to {most}")
    }

    fn written(&self, value: &Duration) -> String {
        format!("\"{}\"", in_one_unit(*value))
    }

    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<Duration, D::Error> {
        let range = self.least..=DAY;
        let [least, most] = [range.start(), range.end()].map(|it| humantime::format_duration(*it));
        let expected =
            format!("a duration from \"{least}\" to \"{most}\", such as \"1500ms\" or \"30s\"");
        simple(from, &expected, |given| match given {
            Given::Text(text) => humantime::parse_duration(text)
                .ok()
                .filter(|duration| range.contains(duration)),
            Given::Whole(_) | Given::Decimal(_) => None,
        })
    }
}

/// `75s` and not `1m 15s`: limits are compared with each other.
fn in_one_unit(duration: Duration) -> String {
    let (seconds, rest) = (duration.as_secs(), duration.subsec_nanos());
    match (seconds, rest) {
        (3_600.., 0) if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        (_, 0) => format!("{seconds}s"),
        _ if rest.is_multiple_of(1_000_000) => format!("{}ms", duration.as_millis()),
        _ => humantime::format_duration(duration).to_string(),
    }
}

/// A whole number of things.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    unit: &'static str,
    least: i64,
    most: i64,
}

/// From 1 to 1,000,000 of them.
#[must_use]
pub const fn count(unit: &'static str) -> Count {
    let (least, most) = (1, 1_000_000);
    Count { unit, least, most }
}

/// From 1 to 1,000 of them.
#[must_use]
pub const fn small_count(unit: &'static str) -> Count {
    let (least, most) = (1, 1_000);
    Count { unit, least, most }
}

/// From none to so many of them.
#[must_use]
pub const fn count_up_to(most: i64, unit: &'static str) -> Count {
    let least = 0;
    Count { unit, least, most }
}

impl<N: TryFrom<i64> + Display> Form<N> for Count {
    fn range(&self) -> String {
        format!("{}, {} to {}", self.unit, self.least, self.most)
    }

    fn written(&self, value: &N) -> String {
        value.to_string()
    }

    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<N, D::Error> {
        let Self { least, most, .. } = *self;
        let expected = format!("a whole number from {least} to {most}");
        simple(from, &expected, |given| match given {
            Given::Whole(number) if (least..=most).contains(&number) => N::try_from(number).ok(),
            _ => None,
        })
    }
}

/// A value that may be absent: its form, and what applies where it is.
#[derive(Debug, Clone, Copy)]
pub struct Optional<F>(pub F, pub &'static str);

impl<T, F: Form<T>> Form<Option<T>> for Optional<F> {
    fn range(&self) -> String {
        self.0.range()
    }

    fn written(&self, value: &Option<T>) -> String {
        let absent = || self.1.to_owned();
        value.as_ref().map_or_else(absent, |it| self.0.written(it))
    }

    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<Option<T>, D::Error> {
        self.0.read(from).map(Some)
    }
}

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub struct Share;

impl Form<f64> for Share {
    fn range(&self) -> String {
        "a share, 0 to 1".to_owned()
    }

    fn written(&self, value: &f64) -> String {
        value.to_string()
    }

    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<f64, D::Error> {
        simple(from, "a number from 0 to 1", |given| match given {
            Given::Whole(0) => Some(0.0),
            Given::Whole(1) => Some(1.0),
            Given::Decimal(share) if (0.0..=1.0).contains(&share) => Some(share),
            _ => None,
        })
    }
}

/// `"1MiB"` or `"64KiB"`; a bare number is refused since its unit would be a guess.
#[derive(Debug, Clone, Copy)]
pub struct ByteSize;

impl ByteSize {
    const MOST: usize = 256 << 20;
}

impl Form<usize> for ByteSize {
    fn range(&self) -> String {
        format!("a size, 1B to {}", size(Self::MOST))
    }

    fn written(&self, value: &usize) -> String {
        format!("\"{}\"", size(*value))
    }

    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<usize, D::Error> {
        let expected = "a size from \"1B\" to \"256MiB\" in B, KiB or MiB, such as \"1MiB\"";
        simple(from, expected, |given| match given {
            Given::Text(text) => parse_byte_size(text, Self::MOST),
            Given::Whole(_) | Given::Decimal(_) => None,
        })
    }
}

/// As [`ByteSize`], and larger; 0 needs no unit.
#[derive(Debug, Clone, Copy)]
pub struct ByteSizeOrZero;

impl ByteSizeOrZero {
    const MOST: usize = 65_536 << 20;
}

impl Form<usize> for ByteSizeOrZero {
    fn range(&self) -> String {
        format!("a size, 1B to {}, or 0", size(Self::MOST))
    }

    fn written(&self, value: &usize) -> String {
        match value {
            0 => "0".to_owned(),
            _ => ByteSize.written(value),
        }
    }

    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<usize, D::Error> {
        let expected = "a size up to \"65536MiB\" in B, KiB or MiB, such as \"64MiB\", or 0";
        simple(from, expected, |given| match given {
            Given::Whole(0) | Given::Text("0B") => Some(0),
            Given::Text(text) => parse_byte_size(text, Self::MOST),
            Given::Whole(_) | Given::Decimal(_) => None,
        })
    }
}

/// The path of a file; empty for none.
#[derive(Debug)]
pub struct FilePath;

impl Form<String> for FilePath {
    fn range(&self) -> String {
        "the path of a file, or empty for none".to_owned()
    }

    fn written(&self, value: &String) -> String {
        crate::quoted(value)
    }

    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<String, D::Error> {
        simple(from, "the path of a file", |given| match given {
            Given::Text(text) => Some(text.to_owned()),
            Given::Whole(_) | Given::Decimal(_) => None,
        })
    }
}

/// In the largest unit that leaves no remainder.
fn size(bytes: usize) -> String {
    let units = [("MiB", 1 << 20), ("KiB", 1 << 10)];
    let whole = units.iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
    match whole {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
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

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::Error;

    use super::*;

    /// Writes a value and reads it back.
    #[track_caller]
    fn written<T: PartialEq + fmt::Debug>(form: &impl Form<T>, value: T, expected: &str) {
        let text = form.written(&value);
        assert_eq!(text, expected);
        let bare = text.trim_matches('"');
        let read: Result<T, Error> = match (bare.parse::<i64>(), bare.parse::<f64>()) {
            (Ok(number), _) => form.read(number.into_deserializer()),
            (_, Ok(number)) => form.read(number.into_deserializer()),
            _ => form.read(bare.into_deserializer()),
        };
        assert_eq!(read, Ok(value));
    }

    #[test]
    fn what_a_form_writes_is_read_as_the_same_value() {
        let ms = Duration::from_millis;
        written(&DURATION, ms(75_000), "\"75s\"");
        written(&DURATION, ms(1_500), "\"1500ms\"");
        written(&DURATION, ms(7_200_000), "\"2h\"");
        written(&DURATION, ms(3_601_000), "\"3601s\"");
        written(
            &DURATION,
            Duration::from_micros(2_500_001),
            "\"2s 500ms 1us\"",
        );
        written(&DURATION_OR_ZERO, Duration::ZERO, "\"0s\"");
        written(&count("things"), 16_usize, "16");
        written(&Share, 0.2, "0.2");
        written(&Share, 1.0, "1");
        written(&ByteSize, 1_000, "\"1000B\"");
        written(&ByteSize, 64 << 10, "\"64KiB\"");
        written(&ByteSizeOrZero, 1 << 30, "\"1024MiB\"");
        written(&ByteSizeOrZero, 0, "0");
        written(&FilePath, "a/b c".to_owned(), "\"a/b c\"");
    }
}
