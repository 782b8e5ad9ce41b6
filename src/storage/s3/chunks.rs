//! Bodies that are sent in chunks: whether the last chunk, which is empty, has come. `s3s` also takes the end of
//! the body for it.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use http::{HeaderMap, Request};
use http_body_util::{BodyStream, StreamBody};
use s3s::Body;

/// Bytes of the line before a chunk, as `s3s` has it.
const LINE_BYTES_MAX: usize = 1_024;

/// Whether a body is sent in chunks that are described in it.
pub(super) fn is_in_chunks(headers: &HeaderMap) -> bool {
    let hash = headers.get("x-amz-content-sha256");
    hash.is_some_and(|hash| hash.as_bytes().starts_with(b"STREAMING-"))
}

/// The chunks of a body, as far as it has been read.
#[derive(Clone, Default)]
pub(super) struct Chunks(Arc<Mutex<Framing>>);

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    /// The rest of a line that says how large a chunk is.
    Line(Vec<u8>),
    /// The rest of a chunk and of what ends it.
    Chunk(u64),
    /// What follows the last chunk.
    End,
}

impl Default for Framing {
    fn default() -> Self {
        Self::Line(Vec::new())
    }
}

impl Chunks {
    /// Has a body looked at while it is read, if it is sent in chunks.
    pub(super) fn body(request: Request<Body>) -> Request<Body> {
        if !is_in_chunks(request.headers()) {
            return request;
        }
        let chunks = Self::default();
        let (mut head, body) = request.into_parts();
        head.extensions.insert(chunks.clone());
        let frames = BodyStream::new(body).inspect(move |frame| {
            if let Ok(frame) = frame
                && let Some(bytes) = frame.data_ref()
            {
                let framing = &chunks.0;
                let mut framing = framing.lock().unwrap_or_else(PoisonError::into_inner);
                framing.see(bytes);
            }
        });
        let body = Body::http_body_unsync(StreamBody::new(frames));
        Request::from_parts(head, body)
    }

    /// Whether the last chunk has come.
    pub(super) fn have_ended(&self) -> bool {
        let framing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *framing == Framing::End
    }
}

impl Framing {
    /// Takes the next bytes. What is malformed never ends, and `s3s` refuses it.
    fn see(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            match self {
                Self::End => return,
                Self::Chunk(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX);
                    let taken = taken.min(bytes.len());
                    *left -= taken as u64;
                    bytes = &bytes[taken..];
                    if *left == 0 {
                        *self = Self::default();
                    }
                }
                Self::Line(line) => {
                    bytes = &bytes[1..];
                    match (first, line.len() < LINE_BYTES_MAX) {
                        (b'\n', _) => *self = Self::after(line),
                        (_, true) => line.push(first),
                        (_, false) => return,
                    }
                }
            }
        }
    }

    /// What follows a line.
    fn after(line: &[u8]) -> Self {
        let digits = line.split(|byte| matches!(byte, b';' | b'\r')).next();
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let size = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match size {
            Some(0) => Self::End,
            // And the end of the line behind it.
            Some(size) => Self::Chunk(u64::from(size) + 2),
            None => Self::Line(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_chunks_ends_with_an_empty_one() {
        let has_ended = |body: &str, at_once: usize| {
            let mut framing = Framing::default();
            for bytes in body.as_bytes().chunks(at_once) {
                framing.see(bytes);
            }
            framing == Framing::End
        };
        let whole = "3;chunk-signature=a\r\n0\r\n\r\n2\r\nab\r\n0;chunk-signature=b\r\n\r\n";
        for at_once in [1, 3, 1_000] {
            assert!(has_ended(whole, at_once));
            for cut in [
                "3;chunk-signature=a\r\n0\r\n\r\n2\r\nab\r\n",
                "3\r\n0\r\n",
                "",
            ] {
                assert!(!has_ended(cut, at_once), "{cut:?}");
            }
        }
    }
}
