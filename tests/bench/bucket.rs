//! A bucket that keeps nothing but sizes, as a separate process, and a link to it with a bandwidth: what is
//! measured is the gateway, and neither a disk nor a provider.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Request, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

const ZEROS: &[u8] = &[0; 64 << 10];
/// Credit that a link gathers while nothing passes.
const BURST: Duration = Duration::from_millis(10);

/// Sizes by path, and by the id of an upload.
type Sizes = Arc<Mutex<HashMap<String, u64>>>;

/// Serves until it is killed.
pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let router = axum::Router::new()
        .fallback(answer)
        .with_state(Sizes::default());
    Ok(axum::serve(listener, router).await?)
}

async fn answer(State(sizes): State<Sizes>, request: Request<Body>) -> Response {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let upload = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("uploadId="));
    let range = request.headers().get(header::RANGE);
    let range = range.and_then(|it| it.to_str().ok()).map(str::to_owned);
    let method = request.method().clone();
    let mut body = request.into_body().into_data_stream();
    let mut received = 0;
    while let Some(Ok(bytes)) = body.next().await {
        received += bytes.len() as u64;
    }
    let mut sizes = sizes.lock().unwrap_or_else(PoisonError::into_inner);
    match (method, upload) {
        (Method::PUT, None) => {
            sizes.insert(path, received);
            text("")
        }
        (Method::PUT, Some(upload)) => {
            *sizes.entry(upload.to_owned()).or_default() += received;
            text("")
        }
        (Method::POST, None) => {
            // A key has one upload at most.
            let id = path.replace('/', "-");
            text(&format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            ))
        }
        (Method::POST, Some(upload)) => {
            let size = sizes.remove(upload).unwrap_or_default();
            sizes.insert(path, size);
            text(
                "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>",
            )
        }
        (Method::GET | Method::HEAD, _) => match sizes.get(&path) {
            Some(&size) => zeros(size, range.as_deref()),
            None => status(StatusCode::NOT_FOUND),
        },
        _ => status(StatusCode::NO_CONTENT),
    }
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn text(text: &str) -> Response {
    let response = Response::builder().header(header::ETAG, "\"e\"");
    response
        .body(Body::from(text.to_owned()))
        .unwrap_or_default()
}

/// An object of zeros, or a part of it.
fn zeros(size: u64, range: Option<&str>) -> Response {
    let bounds = range.and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    });
    let (first, last) = bounds.unwrap_or((0, size.saturating_sub(1)));
    let length = (last + 1).saturating_sub(first).min(size);
    let chunks = stream::unfold(length, |left| async move {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        let chunk = Ok::<_, std::io::Error>(Bytes::from_static(&ZEROS[..now]));
        (now > 0).then(|| (chunk, left - now as u64))
    });
    let mut response = Response::builder()
        .header(header::ETAG, "\"e\"")
        .header(header::LAST_MODIFIED, "Fri, 27 Nov 2026 00:00:00 GMT")
        .header(header::CONTENT_LENGTH, length);
    if bounds.is_some() {
        response = response.status(StatusCode::PARTIAL_CONTENT).header(
            header::CONTENT_RANGE,
            format!("bytes {first}-{last}/{size}"),
        );
    }
    response.body(Body::from_stream(chunks)).unwrap_or_default()
}

/// Begins to pass bytes on to an address, so many a second in each direction; returns its own.
pub(crate) async fn link(to: SocketAddr, bytes_per_second: f64) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let paces = [Pacer::new(bytes_per_second), Pacer::new(bytes_per_second)];
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let [up, down] = paces.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(to).await?;
                client.set_nodelay(true)?;
                server.set_nodelay(true)?;
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                tokio::try_join!(
                    pass(client_in, server_out, up),
                    pass(server_in, client_out, down)
                )
            });
        }
    });
    Ok(address)
}

#[derive(Clone)]
struct Pacer {
    seconds_per_byte: f64,
    free_at: Arc<Mutex<Instant>>,
}

impl Pacer {
    fn new(bytes_per_second: f64) -> Self {
        Self {
            seconds_per_byte: bytes_per_second.recip(),
            free_at: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// When so many bytes may pass.
    fn turn(&self, bytes: usize) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*free_at).max(Instant::now() - BURST);
        *free_at = turn + Duration::from_secs_f64(bytes as f64 * self.seconds_per_byte);
        turn
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    pacer: Pacer,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        sleep_until(pacer.turn(count)).await;
        to.write_all(&buffer[..count]).await?;
    }
}
