//! Requests to the gateways, and the relevant parts of the answers.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use http::{HeaderMap, Method, StatusCode};
use reqwest::Client;
use serde_json::Value;
use tokio::time::Instant;

/// Above the gateway's own deadline, so that its answer is received.
const DEADLINE: Duration = Duration::from_secs(15);

/// The headers that show what Tidegate decided.
const INTERESTING: [&str; 10] = [
    "Consistency-Status",
    "X-Route-Primary",
    "X-Consistency-Token",
    "Cache-Control",
    "Cache-Status",
    "Age",
    "Vary",
    "Allow",
    "Retry-After",
    "WWW-Authenticate",
];

/// Enough of a body to recognise it.
const BODY_CHARS_SHOWN: usize = 160;

/// A request builder.
#[derive(Clone)]
pub(super) struct Request {
    method: Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

/// A complete response.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    pub(super) took: Duration,
    headers: HeaderMap,
    text: String,
}

/// A client that ignores proxies in the environment.
pub(super) fn client() -> Result<Client> {
    Client::builder()
        .no_proxy()
        .timeout(DEADLINE)
        .build()
        .context("cannot create an HTTP client")
}

impl Request {
    pub(super) fn get(url: String) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: None,
        }
    }

    pub(super) fn post(url: String, body: Value) -> Self {
        Self {
            method: Method::POST,
            url,
            headers: Vec::new(),
            body: Some(body),
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn bearer(self, jwt: &str) -> Self {
        self.header("Authorization", format!("Bearer {jwt}"))
    }

    pub(super) async fn send(&self, client: &Client) -> Result<Answer> {
        let mut request = client.request(self.method.clone(), &self.url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = &self.body {
            request = request.json(body);
        }
        let start = Instant::now();
        let response = request.send().await.with_context(|| self.url.clone())?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        Ok(Answer {
            status,
            body,
            took: start.elapsed(),
            headers,
            text,
        })
    }

    /// The request as lines, without credentials.
    pub(super) fn lines(&self) -> String {
        let mut lines = format!("   {} {}\n", self.method, self.url);
        for (name, value) in &self.headers {
            let value = if *name == "Authorization" {
                "Bearer …"
            } else {
                value
            };
            let _ = writeln!(lines, "   {name}: {value}");
        }
        if let Some(body) = &self.body {
            let _ = writeln!(lines, "   {body}");
        }
        lines
    }
}

impl Answer {
    /// A header's value; empty when it is absent.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as received.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether `Consistency-Status` has a parameter with this value.
    pub(super) fn decided(&self, parameter: &str, value: &str) -> bool {
        let mut parameters = self.header("Consistency-Status").split(';').map(str::trim);
        parameters.any(|pair| pair.split_once('=') == Some((parameter, value)))
    }

    pub(super) fn is_by_primary(&self) -> bool {
        self.header("X-Route-Primary") == "true"
    }

    /// The answer as lines, with only the relevant headers.
    pub(super) fn lines(&self) -> String {
        let mut lines = format!("   → {} in {} ms\n", self.status, self.took.as_millis());
        for name in INTERESTING {
            if !self.header(name).is_empty() {
                let _ = writeln!(lines, "     {name}: {}", self.header(name));
            }
        }
        let shown: String = self.text.chars().take(BODY_CHARS_SHOWN).collect();
        let more = if shown.len() < self.text.len() {
            "…"
        } else {
            ""
        };
        let _ = write!(lines, "     {shown}{more}");
        lines
    }
}
