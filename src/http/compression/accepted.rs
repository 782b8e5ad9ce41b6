//! `Accept-Encoding` (RFC 9110 section 12.5.3).

use std::iter::repeat;

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use super::Coding;

/// A weight in thousandths.
type Weight = u16;

/// The highest weights that a client gives, as far as it gives any.
#[derive(Debug, Default)]
struct Weights {
    codings: [Option<Weight>; Coding::ALL.len()],
    identity: Option<Weight>,
    /// That of `*`.
    others: Option<Weight>,
}

/// Returns the offered coding that the client prefers, or none if it prefers the answer as it is. Of equal
/// weights the first offered wins.
pub(super) fn preferred(headers: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let weights = Weights::read(headers);
    let mut best: Option<(Coding, Weight)> = None;
    for &coding in offered {
        let weight = weights.of(coding);
        if weight > best.map_or(0, |(_, best)| best) {
            best = Some((coding, weight));
        }
    }
    let (coding, weight) = best?;
    (weights.identity.unwrap_or(0) <= weight).then_some(coding)
}

impl Weights {
    /// Reads every line once: each request passes here.
    fn read(headers: &HeaderMap) -> Self {
        let mut weights = Self::default();
        let lines = headers.get_all(ACCEPT_ENCODING).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        for member in lines.flat_map(|line| line.split(',')) {
            weights.add(member);
        }
        weights
    }

    fn add(&mut self, member: &str) {
        let (name, parameters) = match member.split_once(';') {
            Some((name, parameters)) => (name, Some(parameters)),
            None => (member, None),
        };
        let Some(known) = self.known(name.trim()) else {
            return;
        };
        let weight = match parameters {
            Some(parameters) => weight(parameters),
            None => Some(1_000),
        };
        *known = weight.max(*known);
    }

    /// Where the weight of a name is kept.
    fn known(&mut self, name: &str) -> Option<&mut Option<Weight>> {
        match Coding::ALL.iter().position(|coding| coding.is_named(name)) {
            Some(index) => self.codings.get_mut(index),
            None if name.eq_ignore_ascii_case("identity") => Some(&mut self.identity),
            None => (name == "*").then_some(&mut self.others),
        }
    }

    fn of(&self, coding: Coding) -> Weight {
        let mut known = Coding::ALL.iter().zip(self.codings);
        let own = known.find_map(|(it, weight)| weight.filter(|_| *it == coding));
        own.or(self.others).unwrap_or(0)
    }
}

/// Reads `q=0.5`, of at most three decimals; what is malformed counts as absent.
fn weight(parameter: &str) -> Option<Weight> {
    let (name, value) = parameter.trim().split_once('=')?;
    if !name.trim_end().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, decimals) = value
        .trim_start()
        .split_once('.')
        .unwrap_or((value.trim(), ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = decimals.bytes().chain(repeat(b'0')).take(3);
    let decimals = digits.fold(0, |sum, digit| 10 * sum + Weight::from(digit - b'0'));
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred_of(lines: &[&str], offered: &[Coding]) -> &'static str {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, line.parse().unwrap());
        }
        preferred(&headers, offered).map_or("plain", Coding::as_str)
    }

    #[test]
    fn the_highest_weight_wins_and_ties_go_by_the_order_offered() {
        for (line, expected) in [
            ("gzip, br, zstd", "zstd"),
            ("gzip, br", "br"),
            ("gzip;q=1, br;q=0.9", "gzip"),
            ("gzip;q=0.5, br;q=0.501", "br"),
            ("*", "zstd"),
            ("*, zstd;q=0", "br"),
            ("*;q=0.5, gzip;q=0.6", "gzip"),
            ("X-GZIP", "gzip"),
            ("BR ; Q=0.3", "br"),
            ("identity, gzip;q=0.5", "plain"),
            ("identity;q=0.5, gzip;q=0.5", "gzip"),
            ("identity;q=0.5, *", "zstd"),
            ("", "plain"),
            ("deflate, compress", "plain"),
            ("gzip;q=0, *;q=0", "plain"),
            ("identity;q=0", "plain"),
            ("gzip;q=2", "plain"),
            ("gzip;q=0.1234", "plain"),
            ("gzip;q=", "plain"),
            ("gzip;level=1", "plain"),
        ] {
            assert_eq!(preferred_of(&[line], &Coding::ALL), expected, "{line}");
        }
        assert_eq!(preferred_of(&[], &Coding::ALL), "plain");
        assert_eq!(
            preferred_of(&["gzip;q=0.2", "br;q=0.1"], &Coding::ALL),
            "gzip"
        );
        let offered = [Coding::Gzip, Coding::Brotli];
        assert_eq!(preferred_of(&["br, gzip, zstd"], &offered), "gzip");
        assert_eq!(preferred_of(&["zstd"], &offered), "plain");
        assert_eq!(preferred_of(&["*"], &[]), "plain");
    }
}
