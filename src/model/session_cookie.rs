//! The cookie in which a browser carries its token, so that a page needs no code.
//!
//! The `__Host-` prefix makes browsers refuse the cookie unless it is `Secure`, has `Path=/` and no
//! `Domain`: neither a subdomain nor an unencrypted connection can set one. Scripts cannot read it,
//! and it is sent from other sites only when the user follows a link.

use http::header::{COOKIE, HeaderMap, HeaderValue};

use crate::{RequestToken, TokenKeys};

const NAME: &str = "__Host-tidegate-session";

/// Makes the browser delete the cookie: for one whose position can never be served.
pub static FORGET_SESSION_COOKIE: HeaderValue = HeaderValue::from_static(
    "__Host-tidegate-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax",
);

/// Writes the `Set-Cookie` field that hands a token to a browser for as long as it runs.
///
/// # Errors
///
/// The token has a character that is not allowed in a header; no token signed here does.
pub fn session_cookie(token: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    format!("{NAME}={token}; Path=/; Secure; HttpOnly; SameSite=Lax").parse()
}

/// Returns whether the `Cookie` fields of a request contain the cookie, whatever its value.
pub fn has_session_cookie<F: AsRef<[u8]>>(fields: impl IntoIterator<Item = F>) -> bool {
    let mut fields = fields.into_iter();
    fields.any(|field| value(field.as_ref()).is_some())
}

/// Removes the cookie from a request's `Cookie` fields, and keeps all others.
pub fn without_session_cookie(headers: &mut HeaderMap) {
    let fields: Vec<_> = headers.get_all(COOKIE).iter().map(without).collect();
    headers.remove(COOKIE);
    for field in fields.into_iter().flatten() {
        headers.append(COOKIE, field);
    }
}

/// The field without the cookie; `None` when nothing is left.
fn without(field: &HeaderValue) -> Option<HeaderValue> {
    value(field.as_bytes()).map_or_else(
        || Some(field.clone()),
        |_| {
            let pairs = field.as_bytes().split(|byte| *byte == b';');
            let others = pairs
                .map(<[u8]>::trim_ascii)
                .filter(|pair| value(pair).is_none());
            let others: Vec<_> = others.filter(|pair| !pair.is_empty()).collect();
            let field = HeaderValue::from_bytes(&others.join(&b"; "[..])).ok();
            field.filter(|field| !field.is_empty())
        },
    )
}

/// Reads the token from the `Cookie` fields of a request.
///
/// Unlike a malformed header, a malformed cookie is not an error but counts as absent: the user
/// of a browser can neither see nor fix it, and the next answer replaces it.
pub fn token_in_cookies<F: AsRef<[u8]>>(
    fields: impl IntoIterator<Item = F>,
    keys: &TokenKeys,
) -> RequestToken {
    // A host has only one such cookie, so a second one is ignored.
    let value = fields
        .into_iter()
        .find_map(|field| value(field.as_ref()).map(<[u8]>::to_vec));
    RequestToken::from_fields(value, keys).unwrap_or(RequestToken::None)
}

/// Finds the cookie in one field (RFC 6265 section 5.4: `name=value` pairs between semicolons).
fn value(field: &[u8]) -> Option<&[u8]> {
    let mut pairs = field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    pairs.find_map(|pair| pair.strip_prefix(NAME.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Lsn, SystemId, Timeline, WalPosition};

    const AT: WalPosition = WalPosition {
        system: SystemId(1),
        timeline: Timeline(1),
        lsn: Lsn(0x16),
    };

    fn keys() -> TokenKeys {
        TokenKeys::parse("a secret of the gateway").unwrap()
    }

    #[test]
    fn what_is_set_is_read_back_among_other_cookies() {
        let set = session_cookie(&keys().sign(&AT)).unwrap();
        let set = set.to_str().unwrap();
        let (pair, attributes) = set.split_once(';').unwrap();
        assert_eq!(attributes, " Path=/; Secure; HttpOnly; SameSite=Lax");
        let cookies = ["theme=dark".to_owned(), format!("a=b; {pair};c=d")];
        let read = token_in_cookies(cookies, &keys());
        assert_eq!(read, RequestToken::Verified(AT));
    }

    #[test]
    fn the_cookie_is_taken_out_and_all_others_stay() {
        let left = |fields: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(COOKIE, HeaderValue::from_static(field));
            }
            without_session_cookie(&mut headers);
            let left = headers.get_all(COOKIE).iter();
            let left: Vec<_> = left
                .map(|field| field.to_str().unwrap().to_owned())
                .collect();
            left
        };
        assert_eq!(left(&["a=1;b=2"]), ["a=1;b=2"]);
        let both = ["a=1; __Host-tidegate-session=x; b=2", "c=3"];
        assert_eq!(left(&both), ["a=1; b=2", "c=3"]);
        assert_eq!(left(&["__Host-tidegate-session=x"]), [""; 0]);
    }

    #[test]
    fn a_malformed_cookie_counts_as_absent_and_a_foreign_one_does_not() {
        let read = |value: &str| token_in_cookies([format!("{NAME}={value}")], &keys());
        assert_eq!(read(""), RequestToken::None);
        assert_eq!(read("AAAA"), RequestToken::None);
        let foreign = TokenKeys::random().unwrap().sign(&AT);
        assert_eq!(read(&foreign), RequestToken::Unverifiable);
    }

    #[test]
    fn only_the_exact_name_counts() {
        let token = keys().sign(&AT);
        for cookie in [
            format!("x{NAME}={token}"),
            format!("{NAME}x={token}"),
            NAME.to_owned(),
        ] {
            let read = token_in_cookies([&cookie], &keys());
            assert_eq!(read, RequestToken::None, "{cookie}");
        }
    }

    #[test]
    fn the_stricter_of_two_tokens_is_the_newer_position() {
        let at = |lsn| {
            RequestToken::Verified(WalPosition {
                lsn: Lsn(lsn),
                ..AT
            })
        };
        assert_eq!(at(1).stricter(at(2)), at(2));
        assert_eq!(at(2).stricter(at(1)), at(2));
        assert_eq!(at(1).stricter(RequestToken::None), at(1));
        assert_eq!(RequestToken::None.stricter(at(1)), at(1));
    }

    #[test]
    fn tokens_that_cannot_be_ordered_need_the_primary() {
        let known = RequestToken::Verified(AT);
        let elsewhere = [
            RequestToken::Unverifiable,
            RequestToken::Verified(WalPosition {
                system: SystemId(2),
                ..AT
            }),
            RequestToken::Verified(WalPosition {
                timeline: Timeline(2),
                ..AT
            }),
        ];
        for other in elsewhere {
            assert_eq!(known.stricter(other), RequestToken::Unverifiable);
            assert_eq!(other.stricter(known), RequestToken::Unverifiable);
        }
    }

    proptest! {
        #[test]
        fn no_cookie_panics(field in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = token_in_cookies([field], &keys());
        }
    }
}
