//! A real server with one bucket, which can fail as providers do, by method.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::vendor::{AnyBody, BUCKET, S3Vendor, Vendor};

/// How a provider fails.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum BucketFault {
    /// It answers this.
    Answer(u16, &'static str),
    /// It never answers.
    Freeze,
    /// It closes the connection.
    Reset,
    /// It closes the connection after so many bytes of a body.
    Truncate(usize),
    /// It sends so many bytes more than it should.
    Lengthen(usize),
    /// It sends other bytes.
    Corrupt,
    /// It waits before every answer.
    Delay(Duration),
    /// It sends a body at so many bytes a second.
    Trickle(usize),
    /// It sends the client elsewhere.
    RedirectTo(String),
    /// It works so many times, and then fails in this way.
    After(usize, Box<Self>),
    /// It fails in this way once in so many times; the first number is how many are left until then.
    Every(usize, usize, Box<Self>),
}

impl BucketFault {
    /// How the next request fails.
    fn next(&mut self) -> Option<Self> {
        match self {
            Self::After(0, fault) => fault.next(),
            Self::After(left, _) => {
                *left -= 1;
                None
            }
            Self::Every(left @ 0, every, fault) => {
                *left = *every - 1;
                fault.next()
            }
            Self::Every(left, ..) => {
                *left -= 1;
                None
            }
            fault => Some(fault.clone()),
        }
    }
}

type Faults = Arc<Mutex<Vec<(Method, BucketFault)>>>;

/// A server; dropping it closes all its connections.
pub(crate) struct BucketServer {
    address: SocketAddr,
    faults: Faults,
    requests: Arc<Mutex<Vec<Method>>>,
    directory: TempDir,
    vendor: Arc<dyn Vendor>,
    task: JoinHandle<()>,
}

impl BucketServer {
    /// Starts one that speaks S3.
    pub(crate) async fn start() -> Self {
        Self::start_as(|directory| Arc::new(S3Vendor::new(directory))).await
    }

    /// Starts one of a vendor, who may keep its objects below a directory.
    pub(crate) async fn start_as(vendor: impl FnOnce(&Path) -> Arc<dyn Vendor>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(BUCKET)).unwrap();
        let vendor = vendor(directory.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, requests) = (Faults::default(), Arc::default());
        let task = tokio::spawn(serve(
            listener,
            Arc::clone(&vendor),
            Arc::clone(&faults),
            Arc::clone(&requests),
        ));
        Self {
            address,
            faults,
            requests,
            directory,
            vendor,
            task,
        }
    }

    /// The bucket's URL.
    pub(crate) fn url(&self) -> String {
        self.vendor.url(self.address)
    }

    pub(crate) fn vendor(&self) -> &dyn Vendor {
        &*self.vendor
    }

    /// Makes requests of a method fail.
    pub(crate) fn fail(&self, method: Method, fault: BucketFault) {
        let mut faults = self.faults.lock().unwrap();
        faults.retain(|(it, _)| *it != method);
        faults.push((method, fault));
    }

    /// Makes requests of a method fail after some of them have succeeded.
    pub(crate) fn fail_after(&self, successes: usize, method: Method, fault: BucketFault) {
        self.fail(method, BucketFault::After(successes, Box::new(fault)));
    }

    /// Makes one in some requests of a method fail.
    pub(crate) fn fail_every(&self, every: usize, method: Method, fault: BucketFault) {
        self.fail(method, BucketFault::Every(0, every, Box::new(fault)));
    }

    /// Makes all requests fail.
    pub(crate) fn fail_all(&self, fault: &BucketFault) {
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
    pub(crate) fn heal(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// Makes requests of a method work again.
    pub(crate) fn heal_only(&self, method: &Method) {
        self.faults.lock().unwrap().retain(|(it, _)| it != method);
    }

    /// How many requests of a method came.
    pub(crate) fn count(&self, method: &Method) -> usize {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|it| *it == method)
            .count()
    }

    /// The sizes of the objects that it has.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        // What is deleted meanwhile is left out.
        let files = self.objects().into_iter();
        files
            .filter_map(|path| Some(path.metadata().ok()?.len()))
            .collect()
    }

    /// The files of the objects that it has.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        let mut objects = Vec::new();
        let mut folders = vec![self.directory.path().join(BUCKET)];
        while let Some(folder) = folders.pop() {
            // Deleted meanwhile, with the last object in it.
            let Ok(entries) = std::fs::read_dir(folder) else {
                continue;
            };
            for entry in entries.filter_map(Result::ok) {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    Ok(_) => objects.push(entry.path()),
                    Err(_gone) => {}
                }
            }
        }
        objects
    }

    /// Puts an object into it, beside its protocol.
    pub(crate) fn place(&self, key: &str, bytes: &[u8]) -> PathBuf {
        let file = self.directory.path().join(BUCKET).join(key);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, bytes).unwrap();
        file
    }

    /// How many parts it has of uploads that are neither completed nor aborted.
    pub(crate) fn unfinished(&self) -> usize {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with(".upload_id-"))
            .count()
    }
}

/// A bucket that can be reached over TLS as well.
pub(crate) struct TlsBucket {
    pub(crate) url: String,
    /// The certificate that must be trusted, as a file.
    pub(crate) authority: String,
}

impl BucketServer {
    /// Listens with a certificate for `localhost` as well.
    pub(crate) async fn over_tls(&self) -> TlsBucket {
        const ROOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/tls");
        let certificate = CertificateDer::from_pem_file(format!("{ROOTS}/server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(format!("{ROOTS}/server_key.pem")).unwrap();
        let port = self.behind_tls(certificate, key).await.port();
        TlsBucket {
            url: format!("https://localhost:{port}/{BUCKET}"),
            authority: format!("{ROOTS}/root.pem"),
        }
    }

    /// Listens with a certificate as well; returns where.
    pub(crate) async fn behind_tls(
        &self,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> SocketAddr {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, to) = (listener.local_addr().unwrap(), self.address);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate ends it here.
                    if let Ok(mut socket) = acceptor.accept(socket).await {
                        let mut plain = TcpStream::connect(to).await.unwrap();
                        let _ended = copy_bidirectional(&mut socket, &mut plain).await;
                    }
                });
            }
        });
        address
    }
}

impl Drop for BucketServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    vendor: Arc<dyn Vendor>,
    faults: Faults,
    requests: Arc<Mutex<Vec<Method>>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (vendor, faults, requests) = (
            Arc::clone(&vendor),
            Arc::clone(&faults),
            Arc::clone(&requests),
        );
        connections.spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                requests.lock().unwrap().push(request.method().clone());
                let mut faults = faults.lock().unwrap();
                let mut faults = faults.iter_mut();
                let fault = faults.find(|(method, _)| method == request.method());
                let fault = fault.and_then(|(_, fault)| fault.next());
                answer(Arc::clone(&vendor), fault, request)
            });
            let builder = Builder::new(TokioExecutor::new());
            let _ended = builder.serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

/// An error closes the connection.
async fn answer(
    vendor: Arc<dyn Vendor>,
    fault: Option<BucketFault>,
    request: Request<Incoming>,
) -> io::Result<Response<AnyBody>> {
    match &fault {
        Some(BucketFault::Freeze) => std::future::pending().await,
        Some(BucketFault::Reset) => return Err(io::ErrorKind::ConnectionReset.into()),
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
        Some(BucketFault::RedirectTo(url)) => {
            let body = Full::new(Bytes::new()).map_err(|never: Infallible| match never {});
            let mut response = Response::new(body.boxed_unsync());
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            let location = url.parse().unwrap();
            response.headers_mut().insert(header::LOCATION, location);
            return Ok(response);
        }
        _ => {}
    }
    let response = vendor.answer(request).await?;
    if let Some(BucketFault::Lengthen(more)) = fault {
        return lengthened(response, more).await;
    }
    Ok(response.map(|body| match fault {
        Some(BucketFault::Truncate(bytes)) => truncated(body, bytes),
        Some(BucketFault::Corrupt) => body.map_frame(corrupted).boxed_unsync(),
        Some(BucketFault::Trickle(pace)) => trickling(body, pace),
        _ => body,
    }))
}

/// Its `Content-Range` stays as it is.
async fn lengthened(response: Response<AnyBody>, more: usize) -> io::Result<Response<AnyBody>> {
    let (mut head, body) = response.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?;
    let mut bytes = body.to_bytes().to_vec();
    bytes.resize(bytes.len() + more, b'+');
    head.headers
        .insert(header::CONTENT_LENGTH, bytes.len().into());
    let body = Full::new(Bytes::from(bytes)).map_err(|never: Infallible| match never {});
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

fn corrupted(frame: Frame<Bytes>) -> Frame<Bytes> {
    frame.map_data(|bytes| bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into())
}

fn trickling(body: AnyBody, pace: usize) -> AnyBody {
    const STEPS: usize = 8;
    let chunks = body.into_data_stream().flat_map(move |chunk| {
        let chunk: Bytes = chunk.unwrap();
        let pieces = (0..chunk.len()).step_by(pace / STEPS);
        let pieces: Vec<_> = pieces
            .map(|at| chunk.slice(at..chunk.len().min(at + pace / STEPS)))
            .collect();
        futures_util::stream::iter(pieces)
    });
    let frames = chunks.then(|piece| async move {
        tokio::time::sleep(Duration::from_secs(1) / 8).await;
        Ok(Frame::data(piece))
    });
    StreamBody::new(frames).boxed_unsync()
}

fn truncated(body: AnyBody, most: usize) -> AnyBody {
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
