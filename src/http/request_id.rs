//! The id of a request, and the trace it belongs to.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use uuid::{Builder, Uuid};

use tidegate_telemetry::trace::{SpanContext, SpanId, TraceId};

/// Carries the request id both ways.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Carries a trace (W3C Trace Context).
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest id taken over from a client.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The client's id if it is short and plain, else a new UUID of version 7.
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

/// A UUID of version 7. Its random bits come from a thread-local generator: an id must be unique to
/// its request, but need not be hard to guess.
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
    // Where an id is part of a URL, browsers would take these for folders.
    let is_folder = matches!(id, b"." | b"..");
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(plain) && !is_folder
}

/// The id of a request, for what logs after its head has gone. A copy: the field may be a part of a whole buffer of
/// the client's connection.
#[derive(Debug)]
pub struct LoggedId(SmallVec<[u8; REQUEST_ID_BYTES_MAX]>);

impl LoggedId {
    /// Reads the id that a request has in this process; `None` if it is sent without one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let id = headers.get(&X_REQUEST_ID)?.as_bytes();
        (id.len() <= REQUEST_ID_BYTES_MAX).then(|| Self(SmallVec::from_slice(id)))
    }

    /// Its text; `None` if it is not a valid id.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.0).ok()?;
        is_plain(&self.0).then_some(text)
    }
}

/// A position in a trace, from a well-formed `traceparent` (W3C Trace Context).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace<'a> {
    field: &'a str,
    /// Names the trace.
    pub id: &'a str,
    parent: &'a str,
    flags: u8,
}

impl<'a> Trace<'a> {
    /// Reads the field; `None` if it is absent, malformed or present twice. Of a future version,
    /// only the parts of version 00 are read, as the specification requires, and the rest is
    /// ignored.
    pub fn read(headers: &'a HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(&TRACEPARENT).iter();
        let field = lines
            .next()
            .filter(|_| lines.next().is_none())?
            .to_str()
            .ok()?;
        let mut parts = field.splitn(5, '-');
        let (version, id, parent, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let ends = parts.next().is_none() || version != "00";
        let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
        let well_formed = is_hex(version, 2)
            && version != "ff"
            && is_hex(id, 32)
            && !zero(id)
            && is_hex(parent, 16)
            && !zero(parent)
            && is_hex(flags, 2)
            && ends;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        well_formed.then_some(Self {
            field,
            id,
            parent,
            flags,
        })
    }

    /// Returns the position as spans have it.
    #[must_use]
    pub fn context(&self) -> SpanContext {
        SpanContext {
            // Both were checked.
            trace: TraceId(u128::from_str_radix(self.id, 16).unwrap_or(1)),
            span: SpanId(u64::from_str_radix(self.parent, 16).unwrap_or(1)),
            is_sampled: self.flags & 1 == 1,
        }
    }

    /// Writes the field to forward: as received, except that the version is 00, the one supported
    /// here.
    pub fn field(&self) -> HeaderValue {
        let sampled = self.flags & 1;
        let field = match self.field.starts_with("00") {
            true => self.field,
            false => &format!("00-{}-{}-{sampled:02x}", self.id, self.parent),
        };
        HeaderValue::from_str(field).unwrap_or(HeaderValue::from_static(""))
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Starts a trace: returns its id and the field to forward. It is marked as sampled, as by an
/// application that receives no trace.
pub fn start_trace() -> (String, HeaderValue) {
    let mut field = *b"00-00000000000000000000000000000000-0000000000000000-01";
    write_hex(&mut field[3..35], &fastrand::u128(1..).to_be_bytes());
    write_hex(&mut field[36..52], &fastrand::u64(1..).to_be_bytes());
    let trace = String::from_utf8_lossy(&field[3..35]).into_owned();
    let field = HeaderValue::from_bytes(&field);
    (trace, field.unwrap_or(HeaderValue::from_static("")))
}

/// Writes two digits for each byte; every request without a trace needs some, and formatters are slow.
fn write_hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Writes the field for a position of a trace of this process.
#[must_use]
pub fn trace_field(context: SpanContext) -> HeaderValue {
    HeaderValue::try_from(context.to_string()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_for_the_log_is_the_one_of_the_request_and_plain() {
        let logged = |id: &str| {
            let id = HeaderValue::from_bytes(id.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(X_REQUEST_ID.clone(), id)]);
            LoggedId::of(&headers).and_then(|id| id.as_str().map(str::to_owned))
        };
        let own = request_id(&HeaderMap::new());
        let own = own.to_str().unwrap();
        assert_eq!(logged(own).as_deref(), Some(own));
        for refused in ["", "a b", "\u{9b}2J", &"x".repeat(65)] {
            assert_eq!(logged(refused), None, "{refused:?}");
        }
        assert!(LoggedId::of(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_trace_that_is_started_is_well_formed() {
        let (trace, field) = start_trace();
        let mut headers = HeaderMap::new();
        headers.insert(&TRACEPARENT, field);
        assert_eq!(Trace::read(&headers).unwrap().id, trace);
    }

    #[test]
    fn hexadecimal_digits_are_those_of_the_number() {
        let mut text = [0; 16];
        write_hex(&mut text, &0x0123_4567_89ab_cdef_u64.to_be_bytes());
        assert_eq!(text, *b"0123456789abcdef");
    }

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn a_plain_id_is_kept_and_a_hostile_one_replaced() {
        assert_eq!(request_id(&with("x-request-id", "abc-1.2_3")), "abc-1.2_3");
        for hostile in ["", "a b", "a\"b", ".", "..", &"x".repeat(65)] {
            let id = request_id(&with("x-request-id", hostile));
            assert_eq!(id.len(), 36, "{hostile}");
        }
    }

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_well_formed_traceparent_is_handed_on_as_version_00() {
        let known = format!("00-{TRACE}-b7ad6b7169203331");
        for (field, handed_on) in [
            (format!("{known}-01"), format!("{known}-01")),
            (format!("{known}-03"), format!("{known}-03")),
            (format!("01-{}-03", &known[3..]), format!("{known}-01")),
            (
                format!("cc-{}-00-what-is-to-come", &known[3..]),
                format!("{known}-00"),
            ),
            (format!("fe-{}-01-", &known[3..]), format!("{known}-01")),
        ] {
            let headers = with("traceparent", &field);
            let trace = Trace::read(&headers).unwrap();
            assert_eq!(trace.id, TRACE, "{field}");
            assert_eq!(trace.field(), handed_on, "{field}");
            // The flags of version 00 but the first are for later versions.
            let context = trace.context().to_string();
            assert_eq!(context, handed_on.replace("-03", "-01"), "{field}");
        }
    }

    #[test]
    fn a_malformed_or_repeated_traceparent_is_none() {
        let good = format!("00-{TRACE}-b7ad6b7169203331-01");
        for bad in [
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("{good}-x"),
            format!("{good}-"),
            format!("01-{TRACE}-b7ad6b7169203331-01x"),
            format!("01-{TRACE}-b7ad6b7169203331"),
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("1-{TRACE}-b7ad6b7169203331-01"),
            "garbage".to_owned(),
            String::new(),
        ] {
            assert_eq!(Trace::read(&with("traceparent", &bad)), None, "{bad}");
        }
        let mut twice = with("traceparent", &good);
        twice.append(&TRACEPARENT, HeaderValue::from_str(&good).unwrap());
        assert_eq!(Trace::read(&twice), None);
    }
}
