//! How an application restricts the reuse of its answer, which a policy row never extends.

use std::time::SystemTime;

use http::header::{CACHE_CONTROL, DATE, EXPIRES, PRAGMA, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::directives::{Directive, directives};

/// The reuse that an application permits; each variant permits less than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reuse {
    /// As long as the policy row says.
    AsDeclared,
    /// Only after revalidation: the application says `no-cache` or that the answer is already
    /// stale.
    AfterValidation,
    /// By no cache except perhaps the client's own: the application says `private` or `no-store`,
    /// or something malformed.
    Forbidden,
}

impl Reuse {
    /// Reads the fields of an application's answer.
    ///
    /// `Cache-Control` and its relatives for certain caches (`CDN-Cache-Control` and the like, RFC
    /// 9213) are treated alike; the strictest wins. A directive that is restricted to some fields
    /// (`private="Set-Cookie"`) counts for the whole answer, as RFC 9111 section 5.2.2 permits, and
    /// a malformed field as `private`. `Expires` counts in place of a lifetime, and `Pragma` in
    /// place of `Cache-Control`.
    pub fn of(headers: &HeaderMap, now: SystemTime) -> Self {
        let own = Field::read(headers, &CACHE_CONTROL);
        let targeted = headers.keys().filter(|name| is_targeted(name));
        let targeted = targeted.map(|name| Field::read(headers, name).reuse);
        let mut reuse = targeted.fold(own.reuse, Self::max);
        let stale = !own.has_lifetime && is_expired(headers, now);
        let pragma = !headers.contains_key(CACHE_CONTROL)
            && names(headers, &PRAGMA).any(|it| it.is_none_or(|it| it.is("no-cache")));
        if stale || pragma {
            reuse = reuse.max(Self::AfterValidation);
        }
        reuse
    }
}

/// Returns whether a field replaces `Cache-Control` for some caches.
pub fn is_targeted(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control") || name == "surrogate-control"
}

/// Returns whether an application's own fields keep every shared cache from storing its answer.
pub fn is_one_clients(headers: &HeaderMap) -> bool {
    let is_forbidden = |name| Field::read(headers, name).reuse == Reuse::Forbidden;
    let mut targeted = headers.keys().filter(|name| is_targeted(name));
    is_forbidden(&CACHE_CONTROL) && targeted.all(is_forbidden)
}

/// Returns whether an application forbids to change the bytes of its answer.
pub fn is_no_transform(headers: &HeaderMap) -> bool {
    names(headers, &CACHE_CONTROL).any(|it| it.is_some_and(|it| it.is("no-transform")))
}

/// Returns whether an answer varies by client: a shared cache cannot select it by the request
/// alone.
pub fn varies_by_client(headers: &HeaderMap) -> bool {
    let personal = ["*", "cookie", "authorization"];
    names(headers, &VARY).any(|it| it.is_none_or(|it| personal.iter().any(|name| it.is(name))))
}

/// What the lines of one field permit.
struct Field {
    reuse: Reuse,
    has_lifetime: bool,
}

impl Field {
    fn read(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut field = Self {
            reuse: Reuse::AsDeclared,
            has_lifetime: false,
        };
        for directive in names(headers, name) {
            let reuse = directive.map_or(Reuse::Forbidden, |it| meaning(&it));
            field.reuse = field.reuse.max(reuse);
            field.has_lifetime |= directive.is_some_and(|it| is_lifetime(&it));
        }
        field
    }
}

fn meaning(directive: &Directive<'_>) -> Reuse {
    if !directive.is_well_formed() || directive.is("private") || directive.is("no-store") {
        return Reuse::Forbidden;
    }
    // A lifetime that is not a number counts as absent (RFC 9111 section 4.2.1).
    let ended = || directive.seconds().is_none_or(|it| it.is_zero());
    match directive.is("no-cache") || (is_lifetime(directive) && ended()) {
        true => Reuse::AfterValidation,
        false => Reuse::AsDeclared,
    }
}

fn is_lifetime(directive: &Directive<'_>) -> bool {
    directive.is("max-age") || directive.is("s-maxage")
}

/// Returns the members of all lines of a field; `None` for a line that is not text.
fn names<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Option<Directive<'a>>> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| {
        let text = line.to_str();
        let garbled = text.is_err().then_some(None);
        directives(text.unwrap_or_default())
            .map(Some)
            .chain(garbled)
    })
}

/// Returns whether any `Expires` has passed. One that is not a date has (RFC 9111 section 5.3).
fn is_expired(headers: &HeaderMap, now: SystemTime) -> bool {
    let date = |value: &HeaderValue| httpdate::parse_http_date(value.to_str().ok()?).ok();
    let made = headers.get(DATE).and_then(date).unwrap_or(now);
    let mut expires = headers.get_all(EXPIRES).iter();
    expires.any(|value| date(value).is_none_or(|expires| expires <= made))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(*name, value);
        }
        headers
    }

    fn reuse(lines: &[(&'static str, &str)]) -> Reuse {
        // Thu, 01 Jan 1970 01:00:00 GMT
        Reuse::of(&headers(lines), UNIX_EPOCH + Duration::from_secs(3600))
    }

    #[test]
    fn private_and_no_store_forbid_it_however_they_are_written() {
        for value in [
            "private",
            "no-store",
            "max-age=9, PRIVATE",
            "\tNo-Store ,max-age=9",
            "private=\"Set-Cookie\"",
            "private=x",
            "public, private",
            "must-understand, no-store",
            "x=\"a, b\",private",
        ] {
            assert_eq!(
                reuse(&[("cache-control", value)]),
                Reuse::Forbidden,
                "{value}"
            );
        }
        let lines = [("cache-control", "max-age=9"), ("cache-control", "private")];
        assert_eq!(reuse(&lines), Reuse::Forbidden);
        for name in [
            "cdn-cache-control",
            "surrogate-control",
            "x-cdn-cache-control",
        ] {
            let lines = [("cache-control", "max-age=9"), (name, "no-store")];
            assert_eq!(reuse(&lines), Reuse::Forbidden, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_understood_forbids_it() {
        for value in [
            "private;max-age=9",
            "max-age=9 private",
            "\"private\"",
            "x=\"private",
            "max-age=9, é",
            "=",
        ] {
            assert_eq!(
                reuse(&[("cache-control", value)]),
                Reuse::Forbidden,
                "{value}"
            );
        }
    }

    #[test]
    fn an_answer_is_one_clients_if_every_field_for_caches_says_so() {
        let of = |lines: &[_]| is_one_clients(&headers(lines));
        let (cc, cdn) = ("cache-control", "cdn-cache-control");
        assert!(of(&[(cc, "private, max-age=9")]) && of(&[(cc, "no-store")]));
        assert!(of(&[(cc, "no-store"), (cdn, "private")]));
        for lines in [
            &[][..],
            &[(cc, "public, max-age=9")],
            &[(cc, "no-cache")],
            &[(cc, "private"), (cdn, "public, max-age=9")],
            &[(cdn, "private")],
        ] {
            assert!(!of(lines), "{lines:?}");
        }
    }

    #[test]
    fn a_lifetime_of_nothing_asks_for_validation() {
        for value in [
            "no-cache",
            "No-Cache=\"x\"",
            "max-age=0",
            "MAX-AGE = \"0\"",
            "max-age=00",
            "s-maxage=0",
            "max-age=9, s-maxage=0",
            "s-maxage=9, max-age=0",
            "max-age=0, stale-while-revalidate=9, stale-if-error=9",
            "max-age=9, max-age=0",
            "max-age",
            "max-age=-1",
            "max-age=1.5",
        ] {
            let reuse = reuse(&[("cache-control", value)]);
            assert_eq!(reuse, Reuse::AfterValidation, "{value}");
        }
    }

    #[test]
    fn anything_else_is_left_to_the_row() {
        for value in [
            "",
            "public",
            "max-age=9",
            "must-revalidate, max-age=9, x=y, community=\"UCI\"",
            "x=\"private, no-store\"",
            "privateer, no-storey, x=no-cache",
            "stale-while-revalidate=0",
        ] {
            assert_eq!(
                reuse(&[("cache-control", value)]),
                Reuse::AsDeclared,
                "{value}"
            );
        }
        assert_eq!(reuse(&[]), Reuse::AsDeclared);
    }

    #[test]
    fn expires_counts_where_no_lifetime_is_stated() {
        let (past, later) = (
            "Thu, 01 Jan 1970 00:30:00 GMT",
            "Thu, 01 Jan 1970 02:00:00 GMT",
        );
        for (lines, expected) in [
            (&[("expires", past)][..], Reuse::AfterValidation),
            (&[("expires", later)], Reuse::AsDeclared),
            (&[("expires", "0")], Reuse::AfterValidation),
            (
                &[("expires", later), ("expires", "-1")],
                Reuse::AfterValidation,
            ),
            (
                &[("expires", later), ("date", later)],
                Reuse::AfterValidation,
            ),
            (
                &[("expires", past), ("cache-control", "max-age=9")],
                Reuse::AsDeclared,
            ),
            (
                &[("expires", past), ("cache-control", "public")],
                Reuse::AfterValidation,
            ),
        ] {
            assert_eq!(reuse(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn pragma_counts_where_there_is_no_cache_control() {
        assert_eq!(reuse(&[("pragma", "x, No-Cache")]), Reuse::AfterValidation);
        assert_eq!(reuse(&[("pragma", "x")]), Reuse::AsDeclared);
        let lines = [("pragma", "no-cache"), ("cache-control", "max-age=9")];
        assert_eq!(reuse(&lines), Reuse::AsDeclared);
    }

    #[test]
    fn only_some_names_in_vary_are_the_clients_own() {
        for (value, expected) in [
            ("Accept-Encoding, Cookie", true),
            ("*", true),
            ("authorization", true),
            ("é", true),
            ("Accept-Encoding, Accept-Language", false),
            ("", false),
        ] {
            assert_eq!(
                varies_by_client(&headers(&[("vary", value)])),
                expected,
                "{value}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_beside_private_makes_it_less(before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
            let value = format!("{before},private,{after}");
            // A preceding quotation mark may make it part of an argument.
            prop_assume!(!before.contains('"'));
            prop_assert_eq!(reuse(&[("cache-control", &value)]), Reuse::Forbidden);
        }
    }
}
