//! The answer to a client that sends cleartext to a port that expects TLS.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest request line that is read to recognise HTTP/1.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Bytes that are read and dropped after the answer: closing with unread bytes would reset the
/// connection, often before the client has read the answer.
const DROPPED_BYTES_MAX: u64 = 64 * 1024;

const BODY: &str = "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\
                    \"detail\":\"this port expects TLS: use https\"}\n";

/// Answers an HTTP/1 request with 400; closes on anything else without an answer. Nothing is
/// carried out. Does not end by itself: the caller bounds the time.
///
/// # Errors
/// The client has gone.
pub(in crate::http) async fn refuse_cleartext(mut socket: TcpStream) -> io::Result<()> {
    if !is_http1(&mut socket).await? {
        return Ok(());
    }
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n\
         cache-control: no-store, private\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    let mut rest = socket.take(DROPPED_BYTES_MAX);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}

/// Reads a line, and returns whether it is the request line of HTTP/1.
async fn is_http1(socket: &mut TcpStream) -> io::Result<bool> {
    let mut line = Vec::new();
    while line.len() < LINE_BYTES_MAX {
        let mut piece = [0; 512];
        let read = socket.read(&mut piece).await?;
        line.extend_from_slice(&piece[..read]);
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            return Ok(is_request_line(&line[..end]));
        }
        // Neither TLS nor HTTP begins like this: there is no need to wait for a line.
        if read == 0 || !line[0].is_ascii_alphabetic() {
            return Ok(false);
        }
    }
    Ok(false)
}

fn is_request_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
}
