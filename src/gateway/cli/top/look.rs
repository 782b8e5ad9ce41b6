//! Reads the state of a gateway from its admin listener.

use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use reqwest::{Client, Url};
use serde_json::Value;
use tokio::time::Instant;

use crate::gateway::admin::Topology;
use tidegate_telemetry::Exposition;

/// The listener answers from memory.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The admin listener of a gateway.
pub(super) struct Gateway {
    client: Client,
    base: Url,
}

/// The state at one moment.
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) topology: Topology,
    pub(super) metrics: Exposition,
}

impl Gateway {
    /// Takes an address in the form of `ADMIN_ADDR` or a URL, and the value of `Authorization`.
    pub(super) fn at(admin: &str, authorization: Option<HeaderValue>) -> Result<Self, String> {
        let headers = authorization.map(|value| (AUTHORIZATION, value));
        let client = Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .default_headers(headers.into_iter().collect())
            .build();
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            base: base(admin)?,
        })
    }

    /// Reads the state once.
    pub(super) async fn look(&self) -> Result<Look, String> {
        let topology = self.get("/admin/topology").await?;
        let topology = serde_json::from_str(&topology)
            .map_err(|error| format!("{} is no gateway of this version: {error}", self.base))?;
        let metrics = Exposition::new(&self.get("/metrics").await?);
        Ok(Look {
            at: Instant::now(),
            topology,
            metrics,
        })
    }

    async fn get(&self, path: &str) -> Result<String, String> {
        let mut url = self.base.clone();
        url.set_path(path);
        let answered = async {
            let response = self.client.get(url.clone()).send().await?;
            let status = response.status();
            Ok((status, response.text().await?))
        };
        let (status, text) = answered.await.map_err(|error: reqwest::Error| {
            format!("{url}: {}", innermost(&error.without_url()))
        })?;
        match status.is_success() {
            true => Ok(text),
            false => Err(format!("{url}: {status}{}", detail(&text))),
        }
    }
}

/// The detail of a problem.
fn detail(problem: &str) -> String {
    let problem: Value = serde_json::from_str(problem).unwrap_or_default();
    let detail = problem["detail"].as_str();
    detail.map_or_else(String::new, |detail| format!(": {detail}"))
}

/// Parses an address in the form of `ADMIN_ADDR`, or a URL.
fn base(admin: &str) -> Result<Url, String> {
    let url = match admin.contains("://") {
        true => admin.to_owned(),
        false => format!("http://{}", reachable(admin)),
    };
    let url = url.parse::<Url>().ok();
    url.filter(|url| url.scheme() == "http" && url.has_host())
        .ok_or_else(|| "expected an address and a port, such as 127.0.0.1:9090".to_owned())
}

/// A listener on all addresses is reached at the loopback address.
fn reachable(admin: &str) -> String {
    let everywhere = ["0.0.0.0:", "[::]:"];
    let port = everywhere
        .iter()
        .find_map(|prefix| admin.strip_prefix(prefix));
    port.map_or_else(|| admin.to_owned(), |port| format!("127.0.0.1:{port}"))
}

/// The most specific cause; the errors around it repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_url_are_both_taken() {
        let base = |admin| base(admin).map(|it| it.to_string());
        assert_eq!(base("[::1]:9"), Ok("http://[::1]:9/".to_owned()));
        assert_eq!(base("0.0.0.0:9"), Ok("http://127.0.0.1:9/".to_owned()));
        assert_eq!(base("http://gateway:9"), Ok("http://gateway:9/".to_owned()));
        for admin in ["", "a b", "https://gateway:9", "file:///etc/passwd"] {
            assert!(base(admin).is_err(), "{admin}");
        }
    }
}
