//! A real S3 server with one bucket, which can fail as providers do, by method.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// The name of the bucket at its provider.
const BUCKET: &str = "vendor";
pub(super) const ACCESS_KEY: &str = "AKIATEST";
pub(super) const SECRET_KEY: &str = "a-provider's-secret";

/// How a provider fails.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum BucketFault {
    /// It answers this.
    Answer(u16, &'static str),
    /// It never answers.
    Freeze,
    /// It closes the connection.
    Reset,
    /// It closes the connection after so many bytes of a body.
    Truncate(usize),
    /// It sends other bytes.
    Corrupt,
    /// It waits before every answer.
    Delay(Duration),
}

type Faults = Arc<Mutex<Vec<(Method, BucketFault)>>>;
type AnyBody = http_body_util::combinators::UnsyncBoxBody<Bytes, s3s::StdError>;

/// A server; dropping it closes all its connections.
pub(super) struct BucketServer {
    address: SocketAddr,
    faults: Faults,
    requests: Arc<Mutex<Vec<Method>>>,
    directory: TempDir,
    task: JoinHandle<()>,
}

impl BucketServer {
    pub(super) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(BUCKET)).unwrap();
        let files = s3s_fs::FileSystem::new(directory.path()).unwrap();
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(s3s::auth::SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, requests) = (Faults::default(), Arc::default());
        let task = tokio::spawn(serve(
            listener,
            service,
            Arc::clone(&faults),
            Arc::clone(&requests),
        ));
        Self {
            address,
            faults,
            requests,
            directory,
            task,
        }
    }

    /// The bucket's URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}/{BUCKET}", self.address)
    }

    /// Makes requests of a method fail.
    pub(super) fn fail(&self, method: Method, fault: BucketFault) {
        let mut faults = self.faults.lock().unwrap();
        faults.retain(|(it, _)| *it != method);
        faults.push((method, fault));
    }

    /// Makes all requests fail.
    pub(super) fn fail_all(&self, fault: &BucketFault) {
        for method in [
            Method::GET,
            Method::PUT,
            Method::HEAD,
            Method::DELETE,
            Method::POST,
        ] {
            self.fail(method, fault.clone());
        }
    }

    /// Makes it work again.
    pub(super) fn heal(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// How many requests of a method came.
    pub(super) fn count(&self, method: &Method) -> usize {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|it| *it == method)
            .count()
    }

    /// The sizes of the objects that it has.
    pub(super) fn sizes(&self) -> Vec<u64> {
        let mut sizes = Vec::new();
        let mut folders = vec![self.directory.path().join(BUCKET)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => sizes.push(entry.metadata().unwrap().len()),
                }
            }
        }
        sizes
    }
}

impl Drop for BucketServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    service: S3Service,
    faults: Faults,
    requests: Arc<Mutex<Vec<Method>>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (service, faults, requests) =
            (service.clone(), Arc::clone(&faults), Arc::clone(&requests));
        connections.spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                requests.lock().unwrap().push(request.method().clone());
                let faults = faults.lock().unwrap();
                let fault = faults.iter().find(|(method, _)| method == request.method());
                let fault = fault.map(|(_, fault)| fault.clone());
                answer(service.clone(), fault, request)
            });
            let builder = Builder::new(TokioExecutor::new());
            let _ended = builder.serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

/// An error closes the connection.
async fn answer(
    service: S3Service,
    fault: Option<BucketFault>,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, std::io::Error> {
    match &fault {
        Some(BucketFault::Freeze) => std::future::pending().await,
        Some(BucketFault::Reset) => return Err(std::io::ErrorKind::ConnectionReset.into()),
        Some(BucketFault::Delay(delay)) => tokio::time::sleep(*delay).await,
        Some(BucketFault::Answer(status, body)) => {
            // As a provider does: the body is taken first.
            let _body = request.collect().await;
            let body = Full::new(Bytes::from_static(body.as_bytes()));
            let mut response = Response::new(
                body.map_err(|never: Infallible| match never {})
                    .boxed_unsync(),
            );
            *response.status_mut() = StatusCode::from_u16(*status).unwrap();
            return Ok(response);
        }
        Some(BucketFault::Truncate(_) | BucketFault::Corrupt) | None => {}
    }
    let answered = service.call(request.map(s3s::Body::from)).await;
    let response = answered.map_err(|_failed| std::io::Error::other("the server failed"))?;
    Ok(response.map(|body| match fault {
        Some(BucketFault::Truncate(bytes)) => truncated(body, bytes),
        Some(BucketFault::Corrupt) => body.map_frame(corrupted).boxed_unsync(),
        _ => body.boxed_unsync(),
    }))
}

fn corrupted(frame: Frame<Bytes>) -> Frame<Bytes> {
    frame.map_data(|bytes| bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into())
}

fn truncated(body: s3s::Body, most: usize) -> AnyBody {
    let mut left = most;
    let frames = body.into_data_stream().map(move |chunk| {
        let mut chunk: Bytes = chunk?;
        if chunk.len() > left {
            chunk.truncate(left);
            left = 0;
            return match chunk.is_empty() {
                true => Err(s3s::StdError::from("the bucket is gone")),
                false => Ok(Frame::data(chunk)),
            };
        }
        left -= chunk.len();
        Ok(Frame::data(chunk))
    });
    StreamBody::new(frames).boxed_unsync()
}
