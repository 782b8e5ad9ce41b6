//! Requests with signatures of version 4, valid or not.

use std::fmt::Write as _;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use http_body_util::Full;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reqwest::{Client, Method, Response};
use ring::digest::{SHA256, digest};
use ring::hmac;

use crate::world::{DEADLINE, client};

/// A client of one listener, with one key.
#[derive(Clone)]
pub(crate) struct S3Client {
    /// For what is not signed.
    pub(crate) client: Client,
    /// It leaves paths as they are.
    pub(crate) plain: HyperClient<HttpConnector, Full<Bytes>>,
    /// Scheme, host and port.
    pub(crate) base: String,
    pub(crate) key_id: String,
    pub(crate) secret: String,
}

/// A request that is signed when it is sent.
pub(crate) struct S3Request {
    pub(super) of: S3Client,
    method: Method,
    /// Percent-encoded.
    path: String,
    /// Percent-encoded, sorted.
    query: String,
    headers: Vec<(String, String)>,
    unsigned: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) at: SystemTime,
    /// The host that the request is for, if it is not that of the base.
    host: Option<String>,
}

impl S3Client {
    pub(crate) fn new(base: String, key_id: &str, secret: &str) -> Self {
        Self {
            client: client(),
            plain: HyperClient::builder(TokioExecutor::new()).build_http(),
            base,
            key_id: key_id.to_owned(),
            secret: secret.to_owned(),
        }
    }

    /// Begins a request for `/bucket/key`, where the key is not encoded yet.
    pub(crate) fn request(&self, method: Method, bucket: &str, key: &str) -> S3Request {
        let path = match (bucket, key) {
            ("", _) => "/".to_owned(),
            (bucket, "") => format!("/{bucket}"),
            (bucket, key) => format!("/{bucket}/{}", encoded(key, true)),
        };
        S3Request {
            of: self.clone(),
            method,
            path,
            query: String::new(),
            headers: Vec::new(),
            unsigned: Vec::new(),
            body: Vec::new(),
            at: SystemTime::now(),
            host: None,
        }
    }

    pub(crate) async fn put(&self, bucket: &str, key: &str, body: &[u8]) -> Response {
        self.request(Method::PUT, bucket, key)
            .body(body)
            .send()
            .await
    }

    pub(crate) async fn get(&self, bucket: &str, key: &str) -> Response {
        self.request(Method::GET, bucket, key).send().await
    }

    pub(crate) async fn delete(&self, bucket: &str, key: &str) -> Response {
        self.request(Method::DELETE, bucket, key).send().await
    }

    /// The body of a GET that must succeed.
    pub(crate) async fn read(&self, bucket: &str, key: &str) -> Vec<u8> {
        let response = self.get(bucket, key).await;
        assert_eq!(response.status(), 200, "{bucket}/{key}");
        response.bytes().await.unwrap().to_vec()
    }

    /// The keys below a prefix, as XML.
    pub(crate) async fn list(&self, bucket: &str, query: &[(&str, &str)]) -> String {
        let mut request = self.request(Method::GET, bucket, "");
        request = request.query("list-type", "2");
        for (name, value) in query {
            request = request.query(name, value);
        }
        let response = request.send().await;
        assert_eq!(response.status(), 200);
        response.text().await.unwrap()
    }
}

impl S3Request {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A header that the signature does not cover.
    pub(crate) fn unsigned_header(mut self, name: &str, value: &str) -> Self {
        self.unsigned.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        let pair = format!("{}={}", encoded(name, false), encoded(value, false));
        let mut pairs: Vec<_> = self.query.split('&').filter(|it| !it.is_empty()).collect();
        pairs.push(&pair);
        pairs.sort_unstable();
        self.query = pairs.join("&");
        self
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Asks for another host than the one that is connected to.
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// Adds a part to the path that is encoded already, or wrongly.
    pub(crate) fn below(mut self, path: &str) -> Self {
        self.path = format!("{}/{path}", self.path.trim_end_matches('/'));
        self
    }

    /// The request as it would be sent.
    pub(crate) fn signed(self) -> http::Request<Full<Bytes>> {
        let hash = hex(digest(&SHA256, &self.body).as_ref());
        self.signed_with_hash(&hash)
    }

    pub(crate) fn at(mut self, at: SystemTime) -> Self {
        self.at = at;
        self
    }

    pub(crate) async fn send(self) -> Response {
        self.try_send().await.unwrap()
    }

    /// Sends it to a gateway that may die.
    pub(crate) async fn try_send(self) -> anyhow::Result<Response> {
        let hash = hex(digest(&SHA256, &self.body).as_ref());
        self.send_signed(&hash).await
    }

    /// Sends it with the SHA-256 of another body.
    pub(crate) async fn send_with_hash(self, hash: &str) -> Response {
        self.send_signed(hash).await.unwrap()
    }

    async fn send_signed(self, hash: &str) -> anyhow::Result<Response> {
        let plain = self.of.plain.clone();
        let is_empty = self.body.is_empty() && [Method::PUT, Method::POST].contains(&self.method);
        let mut request = self.signed_with_hash(hash);
        if is_empty {
            // hyper leaves it out.
            let zero = HeaderValue::from_static("0");
            request.headers_mut().insert(CONTENT_LENGTH, zero);
        }
        let answered = plain.request(request);
        let response = tokio::time::timeout(DEADLINE, answered).await??;
        Ok(response.map(reqwest::Body::wrap).into())
    }

    pub(super) fn signed_with_hash(mut self, hash: &str) -> http::Request<Full<Bytes>> {
        let (date, stamp) = stamps(self.at);
        let base = self.of.base.split_once("://").unwrap().1.to_owned();
        let host = self.host.clone().unwrap_or(base);
        let mut signed = self.headers.clone();
        signed.push(("host".to_owned(), host));
        signed.push(("x-amz-content-sha256".to_owned(), hash.to_owned()));
        signed.push(("x-amz-date".to_owned(), stamp.clone()));
        signed.sort();
        let names: Vec<_> = signed.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let lines: String = signed
            .iter()
            .fold(String::new(), |mut lines, (name, value)| {
                writeln!(lines, "{name}:{value}").unwrap();
                lines
            });
        signed.append(&mut self.unsigned);
        let Self {
            method,
            path,
            query,
            ..
        } = &self;
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hash}");
        let scope = format!("{date}/anywhere/s3/aws4_request");
        let signature = signature(&self.of.secret, &date, &stamp, &scope, &canonical);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.of.key_id
        );
        signed.push(("authorization".to_owned(), authorization));
        let url = match query.as_str() {
            "" => format!("{}{path}", self.of.base),
            query => format!("{}{path}?{query}", self.of.base),
        };
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in &signed {
            request = request.header(name, value);
        }
        request.body(Full::from(self.body)).unwrap()
    }

    /// A URL that is valid for some seconds.
    pub(crate) fn presigned(self, seconds: u64) -> String {
        let (date, stamp) = stamps(self.at);
        let host = self.of.base.split_once("://").unwrap().1.to_owned();
        let scope = format!("{date}/anywhere/s3/aws4_request");
        let credential = format!("{}/{scope}", self.of.key_id);
        let with = self
            .query("X-Amz-Algorithm", "AWS4-HMAC-SHA256")
            .query("X-Amz-Credential", &credential)
            .query("X-Amz-Date", &stamp)
            .query("X-Amz-Expires", &seconds.to_string())
            .query("X-Amz-SignedHeaders", "host");
        let Self {
            method,
            path,
            query,
            ..
        } = &with;
        let canonical = format!("{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let signature = signature(&with.of.secret, &date, &stamp, &scope, &canonical);
        format!("{}{path}?{query}&X-Amz-Signature={signature}", with.of.base)
    }
}

/// The code of an S3 error.
pub(crate) async fn code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.text().await.unwrap();
    let code = body
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    (
        status,
        code.map_or(body.clone(), |(code, _)| code.to_owned()),
    )
}

fn signature(secret: &str, date: &str, stamp: &str, scope: &str, canonical: &str) -> String {
    let hash = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}");
    signature_of(secret, date, &text)
}

/// The signature of a text.
pub(super) fn signature_of(secret: &str, date: &str, text: &str) -> String {
    let sign = |key: &[u8], text: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let parts = [date, "anywhere", "s3", "aws4_request", text];
    let first = format!("AWS4{secret}").into_bytes();
    hex(&parts.iter().fold(first, |key, part| sign(&key, part)))
}

/// The day, and the second, in UTC.
pub(super) fn stamps(at: SystemTime) -> (String, String) {
    // `2026-11-26T22:00:00Z`
    let text = humantime::format_rfc3339_seconds(at).to_string();
    let stamp = text.replace(['-', ':'], "");
    (stamp[..8].to_owned(), stamp)
}

fn encoded(text: &str, keeps_slash: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match plain(byte) || keeps_slash && byte == b'/' {
            true => encoded.push(char::from(byte)),
            false => write!(encoded, "%{byte:02X}").unwrap(),
        }
        encoded
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
