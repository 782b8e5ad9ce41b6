//! The directives of a `Cache-Control` field, parsed according to RFC 9111 section 5.2.
//!
//! Names are case-insensitive and arguments may be quoted; a comma inside quotes is not a
//! separator. White space around `=` is tolerated, as it is by caches. What a directive means is
//! decided by the callers.

use std::time::Duration;

/// The largest number of seconds; greater ones are reduced to it, because every cache can represent
/// it.
const SECONDS_MAX: u64 = 1 << 31;

/// Holds one directive as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directive<'a> {
    name: &'a str,
    argument: Option<&'a str>,
}

/// Returns the directives of a field line; empty list members are left out.
pub(super) fn directives(line: &str) -> impl Iterator<Item = Directive<'_>> {
    let mut quoted = false;
    let mut escaped = false;
    let separates = move |c: char| {
        let literal = escaped;
        escaped = quoted && !literal && c == '\\';
        if c == '"' && !literal {
            quoted = !quoted;
        }
        c == ',' && !quoted
    };
    let members = line.split(separates).map(str::trim);
    members
        .filter(|member| !member.is_empty())
        .map(|member| match member.split_once('=') {
            Some((name, argument)) => Directive {
                name: name.trim(),
                argument: Some(argument.trim()),
            },
            None => Directive {
                name: member,
                argument: None,
            },
        })
}

impl Directive<'_> {
    /// Returns whether it has this name, with or without an argument.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Returns whether it has no argument.
    pub(super) fn is_bare(&self) -> bool {
        self.argument.is_none()
    }

    /// Returns whether the grammar allows it: a token, optionally with a token or a quoted string
    /// as its argument.
    pub(super) fn is_well_formed(&self) -> bool {
        let argument = self.argument;
        is_token(self.name) && argument.is_none_or(|it| is_token(it) || is_quoted_string(it))
    }

    /// Returns the argument as a number of seconds, quoted or not; a number that does not fit is
    /// reduced to the maximum (RFC 9111 section 1.2.2).
    pub(super) fn seconds(&self) -> Option<Duration> {
        let argument = self.argument?;
        let unquoted = argument
            .strip_prefix('"')
            .and_then(|it| it.strip_suffix('"'));
        let digits = unquoted.unwrap_or(argument);
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = || digits.parse().unwrap_or(SECONDS_MAX).min(SECONDS_MAX);
        plain.then(|| Duration::from_secs(seconds()))
    }
}

fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

fn is_quoted_string(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let Some(inner) = inner else { return false };
    let mut escaped = false;
    let unescaped_quote = inner.chars().any(|c| {
        let literal = std::mem::replace(&mut escaped, false);
        escaped = !literal && c == '\\';
        c == '"' && !literal
    });
    !unescaped_quote && !escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<(&str, Option<&str>, bool)> {
        directives(line)
            .map(|it| (it.name, it.argument, it.is_well_formed()))
            .collect()
    }

    #[test]
    fn members_are_separated_by_commas_outside_quotes() {
        let line = " a ,, b=1,\tc = \"x, \\\"y\\\\\" , ";
        let expected = [
            ("a", None, true),
            ("b", Some("1"), true),
            ("c", Some("\"x, \\\"y\\\\\""), true),
        ];
        assert_eq!(read(line), expected);
        assert_eq!(read(""), []);
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_found_out() {
        for line in [
            "private;max-age=0",
            "no store",
            "\"private\"",
            "private=\"x",
            "a=\"x\"y",
            "a=\"x\\\"",
            "a=x y",
            "a=",
            "=a",
            "a=b=c",
            "é",
        ] {
            assert!(directives(line).any(|it| !it.is_well_formed()), "{line}");
        }
    }

    #[test]
    fn seconds_are_digits_perhaps_quoted() {
        let seconds = |line| directives(line).next().unwrap().seconds();
        for (line, expected) in [
            ("a=0", Some(0)),
            ("a=\"60\"", Some(60)),
            ("a=99999999999999999999", Some(1 << 31)),
            ("a", None),
            ("a=", None),
            ("a=\"\"", None),
            ("a=\"6", None),
            ("a=-1", None),
            ("a=1.5", None),
            ("a=5m", None),
        ] {
            assert_eq!(seconds(line), expected.map(Duration::from_secs), "{line}");
        }
    }
}
