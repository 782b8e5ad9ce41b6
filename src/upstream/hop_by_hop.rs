//! Fields that concern one connection only (RFC 9110 section 7.6.1).

use http::header::{
    CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

use super::field_names::FieldNames;

/// Fields that intermediaries never forward, whether or not `Connection` names them.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes the fields of one connection, including those that its `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    strip_those(FieldNames::of(headers), headers);
}

/// The same for a message whose `names` are known.
pub(super) fn strip_those(names: FieldNames, headers: &mut HeaderMap) {
    let named = named(headers);
    names.remove(headers, named.iter().chain(&HOP_BY_HOP));
}

/// Returns what tells the fields of one connection from the others, including those that its `Connection`
/// names.
pub(super) fn is_hop_by_hop(headers: &HeaderMap) -> impl Fn(&HeaderName) -> bool + use<> {
    let named = named(headers);
    move |name| HOP_BY_HOP.contains(name) || named.contains(name)
}

/// The fields that `Connection` names.
fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    let names = tokens(headers, &CONNECTION);
    names.filter_map(|name| name.parse().ok()).collect()
}

/// Returns whether `Connection` names a field that would otherwise be forwarded.
#[must_use]
pub fn withholds_fields(headers: &HeaderMap) -> bool {
    tokens(headers, &CONNECTION).any(|token| {
        let is = |name: &str| token.eq_ignore_ascii_case(name);
        !is("close") && !HOP_BY_HOP.iter().any(|name| is(name.as_str()))
    })
}

/// Returns whether the fields request, or accept, a change to this protocol.
#[must_use]
pub fn names_upgrade(headers: &HeaderMap, protocol: &str) -> bool {
    let lists =
        |name, wanted: &str| tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted));
    lists(&CONNECTION, "upgrade") && lists(&UPGRADE, protocol)
}

/// The members of a field that is a list of tokens.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn fields_of_one_connection_go_and_others_stay() {
        let mut headers = headers(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other ,,"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("x-kept", "3"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]);
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["set-cookie", "set-cookie", "x-kept"]);
    }

    #[test]
    fn an_upgrade_must_stand_in_both_fields() {
        for (lines, expected) in [
            (
                [
                    ("connection", "keep-alive, Upgrade"),
                    ("upgrade", "WebSocket"),
                ],
                true,
            ),
            ([("connection", "upgrade"), ("upgrade", "h2c")], false),
            (
                [("connection", "keep-alive"), ("upgrade", "websocket")],
                false,
            ),
        ] {
            assert_eq!(names_upgrade(&headers(&lines), "websocket"), expected);
        }
    }
}
