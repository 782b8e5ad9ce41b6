//! Headers and cookies that a request can have.

use http::{HeaderName, HeaderValue};

use crate::check::values::{Value, name, refused};
use crate::syntax::Quoted;
use crate::syntax::ast::Word;

/// Fields of one connection (RFC 9110 section 7.6.1): what a client sends depends on the protocol.
const OF_CONNECTIONS: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns why a policy cannot read a header, or what it should read in place of it.
fn unreadable(lower: &str) -> Option<&'static str> {
    match lower {
        "host" | ":authority" => {
            Some("HTTP/2 has no such header: `match host NAME` and `given host NAME` mean the host")
        }
        _ if OF_CONNECTIONS.contains(&lower) => {
            Some("it concerns one connection and depends on the protocol: choose another header")
        }
        _ if lower.starts_with("tidegate-") => {
            Some("only gateways send it: a client's is dropped. Choose another header")
        }
        _ => None,
    }
}

/// Reads a header's name.
pub(crate) fn header(word: Word<'_>) -> Value<HeaderName> {
    if let Some(why) = unreadable(&word.text.to_ascii_lowercase()) {
        return refused(word, "a header that a policy can read", why);
    }
    name(word)?;
    match HeaderName::from_bytes(word.text.as_bytes()) {
        Ok(header) => Ok(header),
        Err(_invalid) => refused(word, "a header's name", "write a name such as `x-device`"),
    }
}

/// Reads a value that a header can have: white space around it is not part of it (RFC 9110 section 5.5).
pub(crate) fn header_text<'s>(word: Word<'s>) -> Value<&'s str> {
    let what = "a value that a header can have";
    let bare = word.text.trim_ascii();
    if HeaderValue::from_bytes(word.text.as_bytes()).is_err() {
        return refused(word, what, "write it without control characters");
    }
    if bare != word.text {
        let right = format!(
            "white space around a value is not part of it: write {}",
            Quoted(bare)
        );
        return refused(word, what, &right);
    }
    Ok(word.text)
}

/// Reads a value that a cookie can have: cookies are separated by `;`, and white space before that does not count.
pub(crate) fn cookie_text<'s>(word: Word<'s>) -> Value<&'s str> {
    let what = "a value that a cookie can have";
    if HeaderValue::from_bytes(word.text.as_bytes()).is_err() {
        return refused(word, what, "write it without control characters");
    }
    if word.text.contains(';') {
        return refused(word, what, "a cookie's value ends before a `;`");
    }
    let bare = word.text.trim_ascii_end();
    if bare != word.text {
        let right = format!(
            "white space after a value is not part of it: write {}",
            Quoted(bare)
        );
        return refused(word, what, &right);
    }
    Ok(word.text)
}
