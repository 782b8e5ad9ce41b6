//! `Accept-Encoding` (RFC 9110 section 12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use super::Coding;

/// A weight in thousandths.
type Weight = u16;

/// Returns the offered coding that the client prefers, or none if it prefers the answer as it is. Of equal
/// weights the first offered wins.
pub(super) fn preferred(headers: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let mut best: Option<(Coding, Weight)> = None;
    for &coding in offered {
        let weight = weight_of(headers, |name| coding.is_named(name));
        let weight = weight
            .or_else(|| weight_of(headers, |name| name == "*"))
            .unwrap_or(0);
        if weight > best.map_or(0, |(_, best)| best) {
            best = Some((coding, weight));
        }
    }
    let identity = weight_of(headers, |name| name.eq_ignore_ascii_case("identity"));
    let (coding, weight) = best?;
    (identity.unwrap_or(0) <= weight).then_some(coding)
}

/// The highest weight that a client gives to a name.
fn weight_of(headers: &HeaderMap, is_it: impl Fn(&str) -> bool) -> Option<Weight> {
    let lines = headers.get_all(ACCEPT_ENCODING).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let members = lines.flat_map(|line| line.split(','));
    let weights = members.filter_map(|member| {
        let (name, parameters) = match member.split_once(';') {
            Some((name, parameters)) => (name, Some(parameters)),
            None => (member, None),
        };
        if !is_it(name.trim()) {
            return None;
        }
        match parameters {
            Some(parameters) => weight(parameters),
            None => Some(1_000),
        }
    });
    weights.max()
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
    let are_digits = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let decimals: Weight = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" if are_digits => Some(decimals),
        "1" if are_digits && decimals == 0 => Some(1_000),
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
