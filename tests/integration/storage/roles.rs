//! A role in place of a secret. AWS cannot run here: what gives credentials to the process (the agent of EKS
//! pod identities, and STS) is a stand-in that gives others to every request. What answers for
//! `s3.<region>.amazonaws.com`, behind a proxy, is a real server that checks the signatures.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::Query;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tempfile::TempDir;
use tidegate::testkit::GatewayCommand;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::bucket_server::BucketServer;
use super::s3_client::code;
use super::vendor::{ACCESS_KEY, AnyBody, BUCKET, S3Vendor, SECRET_KEY, Vendor};
use super::world::{REPOSITORY, StorageWorld};

const HOST: &str = "s3.here.amazonaws.com";
const ROLE: &str = "arn:aws:iam::123456789012:role/storage";
/// What the process shows to get credentials.
const IDENTITY: &str = "identity-of-the-process";

/// How the process gets the credentials of its role.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It has the role.
    Process,
    /// It assumes the role with its web identity.
    Assumed,
}

#[tokio::test]
async fn the_role_of_the_process_opens_a_bucket_and_its_credentials_are_renewed() {
    opens(Way::Process, &["--credentials", "role"]).await;
}

#[tokio::test]
async fn a_role_that_the_process_assumes_opens_a_bucket() {
    opens(Way::Assumed, &["--role", ROLE]).await;
}

async fn opens(way: Way, bucket: &[&str]) {
    let issuer = issuer().await;
    let mut of_role = None;
    let server = BucketServer::start_as(|directory| {
        let vendor = Arc::new(OfRole::new(directory, way, issuer));
        of_role = Some(Arc::clone(&vendor));
        vendor
    });
    let server = server.await;
    let of_role = of_role.unwrap();
    of_role.answer_for_aws(&server).await;
    let world = StorageWorld::over(vec![server], bucket, &[], "", 0).await;
    let checked = world.storage(&["bucket", "check", "bucket-0"]).await;
    assert_eq!(checked["success"], true, "{checked}");
    for number in 0..5 {
        let key = format!("key-{number}");
        let put = world.s3.put(REPOSITORY, &key, b"bytes").await;
        assert_eq!(code(put).await, (200, String::new()));
        assert_eq!(world.s3.read(REPOSITORY, &key).await, b"bytes");
    }
    let tokens = of_role.tokens.lock().unwrap();
    assert!(tokens.len() > 1, "{tokens:?}");
}

/// A server that answers for AWS to requests with the credentials of a role.
struct OfRole {
    server: S3Vendor,
    way: Way,
    issuer: SocketAddr,
    /// With the identity of the process, and the certificate that it trusts.
    directory: TempDir,
    proxy: OnceLock<SocketAddr>,
    /// The session tokens that have come.
    tokens: Mutex<BTreeSet<String>>,
}

impl OfRole {
    fn new(objects: &Path, way: Way, issuer: SocketAddr) -> Self {
        Self {
            server: S3Vendor::new(objects),
            way,
            issuer,
            directory: tempfile::tempdir().unwrap(),
            proxy: OnceLock::new(),
            tokens: Mutex::default(),
        }
    }

    /// Starts a proxy that leads to a server whatever is asked for.
    async fn answer_for_aws(&self, server: &BucketServer) {
        let signed = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        std::fs::write(self.file("root.pem"), signed.cert.pem()).unwrap();
        std::fs::write(self.file("identity"), IDENTITY).unwrap();
        let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
        let to = server.behind_tls(signed.cert.der().clone(), key).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.proxy.set(listener.local_addr().unwrap()).unwrap();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(tunnel(client, to));
            }
        });
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Answers one `CONNECT`.
async fn tunnel(client: TcpStream, to: SocketAddr) {
    let mut client = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        client.read_line(&mut head).await.unwrap();
    }
    assert!(head.starts_with(&format!("CONNECT {HOST}:443 ")), "{head}");
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let mut target = TcpStream::connect(to).await.unwrap();
    let _ended = copy_bidirectional(&mut client, &mut target).await;
}

#[async_trait]
impl Vendor for OfRole {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<AnyBody>> {
        let token = request.headers().get("x-amz-security-token");
        let token = token.and_then(|it| it.to_str().ok()).unwrap_or_default();
        if !token.starts_with("session-") {
            return Err(io::Error::other("these are not credentials of the role"));
        }
        self.tokens.lock().unwrap().insert(token.to_owned());
        self.server.answer(request).await
    }

    fn provider(&self) -> &'static str {
        "aws"
    }

    fn url(&self, _: SocketAddr) -> String {
        format!("s3://{BUCKET}")
    }

    fn surrounding(&self, command: GatewayCommand) -> GatewayCommand {
        let issuer = format!("http://{}", self.issuer);
        let command = command
            .env(
                "HTTPS_PROXY",
                format!("http://{}", self.proxy.get().unwrap()),
            )
            .env("SSL_CERT_FILE", self.file("root.pem"));
        match self.way {
            Way::Process => command
                .env(
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                    format!("{issuer}/pod"),
                )
                .env(
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                    self.file("identity"),
                ),
            Way::Assumed => command
                .env("AWS_ENDPOINT_URL_STS", format!("{issuer}/sts"))
                .env("AWS_WEB_IDENTITY_TOKEN_FILE", self.file("identity")),
        }
    }
}

/// Gives credentials that are valid for a minute, with another session token each time.
async fn issuer() -> SocketAddr {
    let issued = Arc::new(AtomicU32::new(0));
    let next = move || {
        let token = format!("session-{}", issued.fetch_add(1, Ordering::Relaxed));
        (token, Timestamp::now() + Duration::from_secs(60))
    };
    let of_sts = next.clone();
    let pod = get(async move |headers: HeaderMap| {
        if headers.get("authorization").is_none_or(|it| it != IDENTITY) {
            return StatusCode::FORBIDDEN.into_response();
        }
        let (token, until) = next();
        let credentials = json!({
            "AccessKeyId": ACCESS_KEY,
            "SecretAccessKey": SECRET_KEY,
            "Token": token,
            "Expiration": until.to_string(),
        });
        axum::Json(credentials).into_response()
    });
    let sts = post(async move |Query(query): Query<Vec<(String, String)>>| {
        let has = |name: &str, value: &str| query.iter().any(|it| it.0 == name && it.1 == value);
        let is_right = has("Action", "AssumeRoleWithWebIdentity")
            && has("RoleArn", ROLE)
            && has("WebIdentityToken", IDENTITY);
        if !is_right {
            return StatusCode::FORBIDDEN.into_response();
        }
        let (token, until) = of_sts();
        let answer = format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <SessionToken>{token}</SessionToken><SecretAccessKey>{SECRET_KEY}</SecretAccessKey>\
             <AccessKeyId>{ACCESS_KEY}</AccessKeyId><Expiration>{until}</Expiration>\
             </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        );
        answer.into_response()
    });
    let app = Router::new().route("/pod", pod).route("/sts", sts);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}
