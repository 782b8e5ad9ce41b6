//! Microsoft's emulator of Azure Blob Storage, behind a listener that can fail.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::SystemTime;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use ring::hmac;
use tidegate::testkit::GatewayCommand;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{AnyBody, BUCKET, Vendor};
use crate::world::{DEADLINE, client};

/// The account of every emulator, and its key, which is public.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

pub(crate) struct Azurite {
    /// Scheme, host and port.
    base: String,
    client: reqwest::Client,
    _process: Child,
}

impl Azurite {
    /// Starts it with a container; nothing if it cannot be had here.
    pub(crate) async fn start() -> Option<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let program = root.join("target/tools/bin/azurite-blob");
        if !program.exists() {
            return None;
        }
        let mut process = Command::new(program)
            .args(["--inMemoryPersistence", "--blobPort", "0"])
            .args(["--skipApiVersionCheck", "--disableTelemetry", "--silent"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let base = timeout(DEADLINE, async {
            loop {
                let line = lines.next_line().await.unwrap().unwrap();
                if let Some((_, url)) = line.split_once("successfully listens on ") {
                    return url.trim().to_owned();
                }
            }
        });
        let azurite = Self {
            base: base.await.unwrap(),
            client: client(),
            _process: process,
        };
        azurite.create_container().await;
        Some(azurite)
    }

    /// <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>
    async fn create_container(&self) {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let version = "2021-08-06";
        let text = format!(
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n\
             /{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(KEY).unwrap());
        let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        let created = self
            .client
            .put(format!("{}/{}?restype=container", self.base, self.path()))
            .header("x-ms-date", date)
            .header("x-ms-version", version)
            .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
            .header("content-length", "0")
            .send()
            .await
            .unwrap();
        assert_eq!(created.status(), 201, "{}", created.text().await.unwrap());
    }
}

#[async_trait]
impl Vendor for Azurite {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<AnyBody>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let url = format!("{}{}", self.base, parts.uri);
        let sent = self
            .client
            .request(parts.method, url)
            .headers(parts.headers);
        let answer = sent.body(body).send().await.map_err(io::Error::other)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.extend(answer.headers().clone());
        }
        let frames = answer.bytes_stream().map(|chunk| match chunk {
            Ok(bytes) => Ok(Frame::data(bytes)),
            Err(error) => Err(s3s::StdError::from(error.to_string())),
        });
        response
            .body(StreamBody::new(frames).boxed_unsync())
            .map_err(io::Error::other)
    }

    fn provider(&self) -> &'static str {
        "azure"
    }

    fn path(&self) -> String {
        format!("{ACCOUNT}/{BUCKET}")
    }

    fn opened(&self, command: GatewayCommand) -> GatewayCommand {
        command
            .env("STORAGE_BUCKET_ACCESS_KEY_ID", ACCOUNT)
            .env("STORAGE_BUCKET_SECRET_ACCESS_KEY", KEY)
    }
}
