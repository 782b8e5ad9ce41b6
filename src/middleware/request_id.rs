//! The id of a request, and the trace it belongs to.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::{Builder, Uuid};

/// Carries the request id both ways.
pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Carries a trace (W3C Trace Context).
pub(super) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest id taken over from a client.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The client's id when it is short and plain, else a new UUID of version 7.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers
        .get(&X_REQUEST_ID)
        .filter(|value| is_plain(value.as_bytes()));
    given.cloned().unwrap_or_else(|| {
        let mut text = Uuid::encode_buffer();
        let text = new_id().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
    })
}

/// A UUID of version 7. Its random bits come from a generator of the thread: an id must be another
/// for every request, and need not be hard to guess.
fn new_id() -> Uuid {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since_epoch.unwrap_or_default().as_millis();
    let random = fastrand::u128(..).to_le_bytes();
    let [a, b, c, d, e, f, g, h, i, j, ..] = random;
    let millis = u64::try_from(millis).unwrap_or(u64::MAX);
    Builder::from_unix_timestamp_millis(millis, &[a, b, c, d, e, f, g, h, i, j]).into_uuid()
}

fn is_plain(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(plain)
}

/// The trace id of a well-formed W3C `traceparent` (version 00), for the access line.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut parts = headers.get(&TRACEPARENT)?.to_str().ok()?.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    let well_formed = version == "00"
        && hex(trace, 32)
        && hex(parent, 16)
        && hex(flags, 2)
        && !zero(trace)
        && !zero(parent)
        && parts.next().is_none();
    well_formed.then_some(trace)
}

/// Starts a trace: its id, and the field that hands it on. It is marked as sampled, as it would be by
/// an application that nobody hands a trace.
pub(super) fn start_trace() -> (String, HeaderValue) {
    let trace = format!("{:032x}", fastrand::u128(1..));
    let field = format!("00-{trace}-{:016x}-01", fastrand::u64(1..));
    let field = HeaderValue::try_from(field);
    (trace, field.unwrap_or(HeaderValue::from_static("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_is_started_is_well_formed() {
        let (trace, field) = start_trace();
        let mut headers = HeaderMap::new();
        headers.insert(&TRACEPARENT, field);
        assert_eq!(trace_id(&headers), Some(&*trace));
    }

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn a_plain_id_is_kept_and_a_hostile_one_replaced() {
        assert_eq!(request_id(&with("x-request-id", "abc-1.2_3")), "abc-1.2_3");
        for hostile in ["", "a b", "a\"b", &"x".repeat(65)] {
            let id = request_id(&with("x-request-id", hostile));
            assert_eq!(id.len(), 36, "{hostile}");
        }
    }

    #[test]
    fn only_a_well_formed_traceparent_is_carried() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let good = format!("00-{trace}-b7ad6b7169203331-01");
        assert_eq!(trace_id(&with("traceparent", &good)), Some(trace));
        for bad in [
            format!("01-{trace}-b7ad6b7169203331-01"),
            format!("00-{}-b7ad6b7169203331-01", trace.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("{good}-x"),
            "garbage".to_owned(),
        ] {
            assert_eq!(trace_id(&with("traceparent", &bad)), None, "{bad}");
        }
    }
}
