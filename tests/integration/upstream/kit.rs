//! An application behind a gateway, and a gateway that needs no database for that.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};
use nix::sys::signal::Signal;
use reqwest::{Client, RequestBuilder};
use tempfile::TempDir;
use tidegate::testkit::{GatewayCommand, GatewayProcess};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::world::{BINARY, DEADLINE, JWT_SECRET, TOKEN_SECRET, client, reload};

/// A request that an application received.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
}

impl Asked {
    /// A field's values as one list; empty when it is absent.
    pub(crate) fn field(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter();
        let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
        values.join(", ")
    }
}

/// A server on a free port that records its requests. Stopping it closes its connections.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: JoinHandle<()>,
}

impl App {
    /// Serves a router; checks are answered separately and not recorded.
    pub(crate) async fn serve(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve_on(listener, router)
    }

    pub(crate) fn serve_on(listener: TcpListener, router: Router) -> Self {
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let keep = axum::middleware::map_request_with_state(Arc::clone(&asked), keep);
        let router = router
            .layer(keep)
            .route("/healthz", axum::routing::get(|| async { "well" }));
        let server = async move { axum::serve(listener, router).await.unwrap() };
        Self {
            address,
            asked,
            server: tokio::spawn(server),
        }
    }

    /// An application that answers everything with a status and its name.
    pub(crate) async fn answering(status: u16, name: &'static str) -> Self {
        let answer = move || async move { (StatusCode::from_u16(status).unwrap(), name) };
        Self::serve(Router::new().fallback(answer)).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far, except checks.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The newest request.
    pub(crate) fn last(&self) -> Asked {
        self.asked().pop().expect("a request")
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn keep(State(asked): State<Arc<Mutex<Vec<Asked>>>>, request: Request) -> Request {
    asked.lock().unwrap().push(Asked {
        method: request.method().clone(),
        target: request.uri().to_string(),
        headers: request.headers().clone(),
    });
    request
}

/// A gateway whose database does not exist: upstreams do not need one.
pub(crate) struct Edge {
    pub(crate) gateway: GatewayProcess,
    pub(crate) client: Client,
    directory: TempDir,
}

impl Edge {
    pub(crate) async fn start(toml: &str) -> Self {
        // Not a variable that the gateway knows.
        Self::with("UNUSED", "", toml).await
    }

    /// With one more variable.
    pub(crate) async fn with(name: &str, value: impl Into<String>, toml: impl AsRef<str>) -> Self {
        Self::with_all(&[(name, value.into())], toml).await
    }

    /// With more variables.
    pub(crate) async fn with_all(variables: &[(&str, String)], toml: impl AsRef<str>) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("gateway.toml");
        std::fs::write(&file, toml.as_ref()).unwrap();
        let command = GatewayCommand::new(BINARY, "serve")
            .env("REGION", "eu-west-1")
            .env("DATABASE_URL", "postgres://app@127.0.0.1:1/app")
            .env("AUTH_JWT_SECRET", JWT_SECRET)
            .env("TOKEN_SECRET", TOKEN_SECRET)
            .env("TIDEGATE_CONFIG", &file)
            .env("RUST_LOG", "info,tidegate=debug");
        let gateway = variables.iter();
        let gateway = gateway.fold(command, |all, (name, value)| all.env(name, value));
        Self {
            gateway: gateway.start().await.unwrap(),
            client: client(),
            directory,
        }
    }

    /// Before one application, to which everything below `/app/` goes.
    pub(crate) async fn before(app: &App, more: &str) -> Self {
        let url = app.url();
        Self::start(&format!("{more}\n{}", endpoint("*", "/app/{*rest}", &url))).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.gateway.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// Gives it another file, and waits until that is in force.
    pub(crate) async fn reload(&self, toml: &str) {
        let file = self.directory.path().join("gateway.toml");
        reload(&self.gateway, &file, toml).await;
    }

    /// Gives it another file without waiting for it.
    pub(crate) fn begin_reload(&self, toml: &str) {
        std::fs::write(self.directory.path().join("gateway.toml"), toml).unwrap();
        self.gateway.signal(Signal::SIGHUP);
    }

    /// A metric's value; zero while it is absent.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let page = self.client.get(self.gateway.admin_url("/metrics"));
        let page = page.send().await.unwrap().text().await.unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(series));
        value.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    pub(crate) async fn connect(&self) -> Raw {
        Raw(TcpStream::connect(self.gateway.listen()).await.unwrap())
    }
}

/// An endpoint of a configuration file.
pub(crate) fn endpoint(method: &str, path: &str, upstream: &str) -> String {
    format!("[[endpoint]]\nmethod = \"{method}\"\npath = \"{path}\"\nupstream = \"{upstream}\"\n")
}

/// An upstream of a configuration file, with nodes in regions.
pub(crate) fn upstream(nodes: &[(&str, &str)], more: &str) -> String {
    let node =
        |(region, url): &(&str, &str)| format!("{{ region = \"{region}\", url = \"{url}\" }}");
    let nodes: Vec<_> = nodes.iter().map(node).collect();
    let nodes = nodes.join(", ");
    format!("[[upstream]]\nname = \"app\"\nnodes = [{nodes}]\n{more}\n")
}

/// A connection for raw bytes.
pub(crate) struct Raw<S = TcpStream>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads until what was read contains a text.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&read).contains(text) {
                if self.0.read_buf(&mut read).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        };
        let _ended = timeout(DEADLINE, reading).await;
        let read = String::from_utf8_lossy(&read).into_owned();
        assert!(read.contains(text), "no {text:?} in {read:?}");
        read
    }

    /// Reads to the end.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        // A reset is an end too.
        let _end = timeout(DEADLINE, self.0.read_to_end(&mut read))
            .await
            .unwrap();
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// A response with fields.
pub(crate) fn with_fields(fields: &[(&'static str, &'static str)]) -> Response {
    let mut response = Response::new(Body::from("answer"));
    for (name, value) in fields {
        let headers = response.headers_mut();
        headers.append(*name, value.parse().unwrap());
    }
    response
}
