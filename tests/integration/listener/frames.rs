//! HTTP/2 frames as raw bytes.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One side of a connection, over TLS or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A frame that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// A frame to send.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// SETTINGS with one parameter.
pub(super) fn setting(id: u16, value: u32) -> Vec<u8> {
    let parameter = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &parameter)
}

/// The field block of a request (RFC 7541); paths are shorter than 127 bytes.
pub(super) fn request(method: u8, path: &str) -> Vec<u8> {
    // Indexed: the method, `:scheme: https`. Literal: `:path`, `:authority`.
    let mut block = vec![method, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend(path.as_bytes());
    block.extend(b"\x01\x09localhost");
    block
}

pub(super) const GET: u8 = 0x82;
pub(super) const POST: u8 = 0x83;

/// A whole GET.
pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        &request(GET, path),
    )
}

/// Reads one frame; none at the end.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await.ok()?;
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |all, byte| all << 8 | u32::from(*byte))
    };
    let mut payload = vec![0; number(&head[..3]) as usize];
    from.read_exact(&mut payload).await.ok()?;
    Some(Frame {
        kind: head[3],
        stream: number(&head[5..]),
        payload,
    })
}

/// Reads up to a frame of a kind; none if the connection ends before it.
pub(super) async fn read_until(from: &mut (impl AsyncRead + Unpin), kind: u8) -> Option<Frame> {
    loop {
        let frame = read(from).await?;
        if frame.kind == kind {
            return Some(frame);
        }
    }
}
