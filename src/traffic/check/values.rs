//! Words to values: numbers, units, codes, addresses and times.

use std::net::IpAddr;
use std::time::Duration;

use http::Method;
use ipnet::{IpNet, Ipv4Net};
use tidegate_model::PathPattern;

use crate::place::{Continent, is_assigned};
use crate::plan::{Country, Quantity};
use crate::syntax::ast::Word;
use crate::syntax::{Diagnostic, Quoted, similar};

/// Numbers are below this.
const NUMBER_END: u64 = 1 << 31;

const MICROS: u64 = 1_000_000;

/// Millionths in one percent.
const PERCENT: u64 = 10_000;

pub(crate) type Value<T> = Result<T, Box<Diagnostic>>;

/// Refuses a word, with what it should be and an example.
pub(crate) fn refused<T>(word: Word<'_>, should_be: &str, right: &str) -> Value<T> {
    let title = format!("{} is not {should_be}", Quoted(word.text));
    Err(Box::new(Diagnostic::error(word.span, title).help(right)))
}

/// Reads a name.
pub(crate) fn name<'s>(word: Word<'s>) -> Value<&'s str> {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let other = |c: char| first(c) || matches!(c, '.' | '-');
    if word.text.starts_with(first) && word.text.chars().all(other) {
        return Ok(word.text);
    }
    let right =
        "a name is letters, digits, `_`, `.` and `-`, and starts with a letter, a digit or `_`";
    refused(word, "a name", right)
}

/// Reads a whole number below 2³¹.
pub(crate) fn number(word: Word<'_>) -> Value<u32> {
    let digits = word.text.bytes().all(|byte| byte.is_ascii_digit());
    let value = word
        .text
        .parse::<u64>()
        .ok()
        .filter(|value| digits && *value < NUMBER_END);
    match value.and_then(|value| u32::try_from(value).ok()) {
        Some(value) => Ok(value),
        None => refused(
            word,
            "a whole number",
            "write digits only, for a number below 2147483648",
        ),
    }
}

/// Reads `N` with a limited number of decimals, in units of the last decimal.
fn decimal(text: &str, decimals: u32) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = decimals.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let whole = whole
        .parse::<u64>()
        .ok()
        .filter(|whole| *whole < NUMBER_END)?;
    let fraction = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<u64>().ok()?
    };
    Some(whole * 10_u64.pow(decimals) + fraction * 10_u64.pow(missing))
}

/// Reads a percentage as millionths.
fn millionths(text: &str) -> Option<u32> {
    let value = decimal(text.strip_suffix('%')?, 4)?;
    (value <= 100 * PERCENT).then_some(value as u32)
}

/// Reads a percentage as the position of a ramp: of 10,000, rounded down.
pub fn ramp_position(text: &str) -> Option<u16> {
    millionths(text).map(|millionths| (millionths / 100) as u16)
}

/// Reads a percentage as millionths.
pub(crate) fn percent(word: Word<'_>) -> Value<u32> {
    match millionths(word.text) {
        Some(value) => Ok(value),
        None => {
            let right = match decimal(word.text, 4) {
                Some(_) => format!("a unit is required: `{}%`", word.text),
                None => {
                    "write a number from 0 to 100 with at most four decimals and `%`: `2%`".into()
                }
            };
            refused(word, "a percentage", &right)
        }
    }
}

/// Reads a duration.
pub(crate) fn duration(word: Word<'_>) -> Value<Duration> {
    let units = [
        ("ms", 1_000),
        ("s", MICROS),
        ("m", 60 * MICROS),
        ("h", 3_600 * MICROS),
    ];
    let value = units.iter().find_map(|(unit, micros)| {
        let number = word.text.strip_suffix(unit)?;
        let thousandths = decimal(number, 3)?;
        Some(thousandths * (micros / 1_000))
    });
    match value {
        Some(micros) => Ok(Duration::from_micros(micros)),
        None => {
            let right = match decimal(word.text, 3) {
                Some(_) => format!(
                    "a unit is required: `{0}ms`, `{0}s`, `{0}m`, `{0}h`",
                    word.text
                ),
                None => "write a number and one of `ms`, `s`, `m` and `h`: `2s`".into(),
            };
            refused(word, "a duration", &right)
        }
    }
}

/// Reads the name of a quantity.
pub(crate) fn quantity(word: Word<'_>) -> Value<Quantity> {
    let mut all = Quantity::ALL.into_iter();
    match all.find(|quantity| quantity.as_str() == word.text) {
        Some(quantity) => Ok(quantity),
        None => {
            let names = Quantity::ALL.map(Quantity::as_str);
            let right = meant(
                word.text,
                &names,
                "quantities are `errors`, `p99`, `saturation` and `lag`",
            );
            refused(word, "a quantity", &right)
        }
    }
}

/// Reads the value of a quantity, in the unit that it has.
pub(crate) fn quantity_value(quantity: Quantity, word: Word<'_>) -> Value<u64> {
    match quantity {
        Quantity::Errors | Quantity::Saturation => percent(word).map(u64::from),
        Quantity::P99 | Quantity::Lag => {
            duration(word).map(|value| u64::try_from(value.as_micros()).unwrap_or(u64::MAX))
        }
    }
}

/// Reads degrees.
fn degrees(word: Word<'_>, most: f64, what: &str) -> Value<f64> {
    let digits = word.text.trim_start_matches('-');
    let plain = word.text.len() - digits.len() < 2 && decimal(digits, 8).is_some();
    let value = word.text.parse::<f64>().ok().filter(|_| plain);
    match value.filter(|value| value.abs() <= most) {
        Some(value) => Ok(value),
        None => refused(
            word,
            what,
            &format!("write degrees from -{most} to {most}: `53.35`"),
        ),
    }
}

/// Reads a latitude.
pub(crate) fn latitude(word: Word<'_>) -> Value<f64> {
    degrees(word, 90.0, "a latitude")
}

/// Reads a longitude.
pub(crate) fn longitude(word: Word<'_>) -> Value<f64> {
    degrees(word, 180.0, "a longitude")
}

/// Reads a status of an error.
pub(crate) fn status(word: Word<'_>) -> Value<u16> {
    let digits = word.text.bytes().all(|byte| byte.is_ascii_digit());
    let status = word.text.parse::<u16>().ok().filter(|_| digits);
    match status.filter(|status| (400..=599).contains(status)) {
        Some(status) => Ok(status),
        None => refused(
            word,
            "a status",
            "write a status from 400 to 599, or `local`",
        ),
    }
}

/// Reads a country's code.
pub(crate) fn country(word: Word<'_>) -> Value<Country> {
    let known = |text: &str| text.parse().ok().filter(|country| is_assigned(*country));
    let upper = word.text.to_ascii_uppercase();
    match known(word.text) {
        Some(country) if upper == word.text => Ok(country),
        Some(country) => refused(word, "a country's code", &format!("write `{country}`")),
        None => {
            let right = match upper.as_str() {
                "UK" => "the United Kingdom is `GB`",
                "EL" => "Greece is `GR`",
                _ => "write the two capital letters of ISO 3166-1: `DE`",
            };
            refused(word, "a country's code", right)
        }
    }
}

/// Reads a continent's code.
pub(crate) fn continent(word: Word<'_>) -> Value<Continent> {
    let mut all = Continent::ALL.into_iter();
    match all.find(|continent| continent.code() == word.text) {
        Some(continent) => Ok(continent),
        None => refused(
            word,
            "a continent's code",
            "write `AF`, `AN`, `AS`, `EU`, `NA`, `OC` or `SA`",
        ),
    }
}

/// Reads a method.
pub(crate) fn method(word: Word<'_>) -> Value<Method> {
    let upper = word.text.to_ascii_uppercase();
    match Method::from_bytes(word.text.as_bytes()) {
        Ok(method) if upper == word.text => Ok(method),
        Ok(_) => refused(
            word,
            "a method",
            &format!("methods are in capital letters: `{upper}`"),
        ),
        Err(_invalid) => refused(word, "a method", "write a method such as `GET`"),
    }
}

/// Reads a pattern of paths.
pub(crate) fn pattern(word: Word<'_>) -> Value<PathPattern> {
    match word.text.parse() {
        Ok(pattern) => Ok(pattern),
        Err(error) => refused(word, "a pattern of paths", &format!("{error}")),
    }
}

/// Reads a network.
pub(crate) fn network(word: Word<'_>) -> Value<IpNet> {
    let (text, what) = (word.text, "a network");
    match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(network), _) if network == canonical(network) => Ok(network),
        (Ok(network), _) => refused(word, what, &format!("write `{}`", canonical(network))),
        (Err(_), Ok(address)) => {
            let network = IpNet::from(address.to_canonical());
            refused(word, what, &format!("write `{network}`"))
        }
        (Err(_), Err(_)) => refused(word, what, "write `192.0.2.0/24` or `2001:db8::/32`"),
    }
}

/// Returns a network as clients' addresses are compared with it: by its first address, and of IPv4 if it is one of
/// mapped addresses (RFC 4291 section 2.5.5.2), since no client has one.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let whole = network.trunc();
    let (IpAddr::V6(first), Some(length)) =
        (whole.network(), whole.prefix_len().checked_sub(MAPPED))
    else {
        return whole;
    };
    let mapped = first.to_ipv4_mapped();
    let mapped = mapped.and_then(|first| Ipv4Net::new(first, length).ok());
    mapped.map_or(whole, IpNet::from)
}

/// Reads `/N`, the length of an IPv4 prefix; `/24` is `/56` for IPv6, and so on.
pub(crate) fn prefix(word: Word<'_>) -> Value<(u8, u8)> {
    const FURTHER: u8 = 56 - 24;
    let digits = word
        .text
        .strip_prefix('/')
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse::<u8>().ok());
    match length.filter(|length| *length <= 32) {
        Some(length) => Ok((length, length + FURTHER)),
        None => refused(
            word,
            "a prefix length",
            "write `/0` to `/32`: `/24`, which is /56 for IPv6",
        ),
    }
}

/// Suggests the word that was probably intended, or else a correct one.
pub(crate) fn meant(word: &str, words: &[&str], right: &str) -> String {
    match similar(word, words.iter().copied()) {
        Some(similar) => format!("did you mean `{similar}`?"),
        None => right.to_owned(),
    }
}
