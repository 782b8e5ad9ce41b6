//! Zones, instants, times of the day and weekdays, read from words.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::check::values::{Value, meant, refused};
use crate::schedule::{DAYS, ZONES};
use crate::syntax::ast::Word;

/// Reads a zone.
pub(crate) fn zone<'s>(word: Word<'s>) -> Value<&'s str> {
    let found = ZONES.get(word.text).ok();
    match found.as_ref().and_then(TimeZone::iana_name) {
        Some(name) if name == word.text => Ok(word.text),
        Some(name) => refused(word, "a time zone", &format!("write `{name}`")),
        None => {
            let first = word.text.get(..1);
            let names = ZONES.available().map(|name| name.to_string());
            let names: Vec<_> = names.filter(|name| name.get(..1) == first).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let right = meant(
                word.text,
                &names,
                "write a name of the IANA database: `Europe/Berlin`",
            );
            refused(word, "a time zone", &right)
        }
    }
}

/// Reads an instant, in milliseconds since 1970.
pub(crate) fn instant(word: Word<'_>) -> Value<i64> {
    match word.text.parse::<Timestamp>() {
        Ok(instant) => Ok(instant.as_millisecond()),
        Err(_invalid) => refused(
            word,
            "an instant",
            "write date, time and `Z` or an offset: `2026-12-31T22:00Z`, `2026-12-31T23:00+01:00`",
        ),
    }
}

/// Reads `HH:MM-HH:MM`, in minutes since midnight.
pub(crate) fn hours(word: Word<'_>) -> Value<(u16, u16)> {
    let parts = word.text.split_once('-');
    let read = parts.and_then(|(begin, end)| Some((minutes(begin)?, minutes(end)?)));
    match read {
        Some((begin, end)) if begin != end => Ok((begin, end)),
        Some(_) => {
            let right = "begin and end must differ; an end before its begin is on the next day";
            refused(word, "a period", right)
        }
        None => refused(
            word,
            "a period of hours",
            "write 00:00 to 23:59 twice: `02:00-03:00`",
        ),
    }
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |text: &str, below: u16| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>()
            .ok()
            .filter(|value| plain && *value < below)
    };
    Some(digits(hours, 24)? * 60 + digits(minutes, 60)?)
}

/// Reads `day` or a day of the week, as a set: bit 0 is Monday.
pub(crate) fn weekdays(word: Word<'_>) -> Value<u8> {
    if word.text == "day" {
        return Ok(0x7f);
    }
    match DAYS.iter().position(|day| *day == word.text) {
        Some(day) => Ok(1 << day),
        None => {
            let lower = word.text.to_lowercase();
            let mut starting = DAYS
                .iter()
                .filter(|day| lower.len() > 2 && lower.starts_with(&day[..3]));
            let right = match starting.next() {
                Some(day) => format!("write `{day}`"),
                None => meant(&lower, &DAYS, "write `day`, or `monday` to `sunday`"),
            };
            refused(word, "a day of the week", &right)
        }
    }
}
