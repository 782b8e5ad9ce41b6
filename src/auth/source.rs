//! The source of a key set.

use reqwest::{Client, Url, redirect};
use tokio::time::Duration;

use super::key_set::{KeySet, KeySetError};
use tidegate_model::error_chain;

/// Time for one fetch, from the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a key set: a hundred RSA keys with certificates fit.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// Why key sets cannot be fetched at all.
#[derive(Debug, thiserror::Error)]
#[error("no HTTPS client for AUTH_JWKS_URL: {0}")]
pub struct AuthSetupError(#[from] reqwest::Error);

/// Why one fetch failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the request failed: {}", error_chain::first(.0))]
    Request(#[from] reqwest::Error),
    #[error("the answer has status {0}")]
    Status(http::StatusCode),
    #[error("the answer is longer than {DOCUMENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("the answer cannot be used: {0}")]
    KeySet(#[from] KeySetError),
}

/// The URL of a key set and the HTTP client that fetches it.
#[derive(Debug)]
pub(super) struct Source {
    client: Client,
    url: Url,
}

impl Source {
    pub(super) fn new(url: Url) -> Result<Self, AuthSetupError> {
        // An error means that the process has already installed a provider, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            // A redirect could choose the keys, which only the configured URL may.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { client, url })
    }

    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        let mut response = self.client.get(self.url.clone()).send().await?;
        if response.status() != http::StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if document.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(FetchError::TooLong);
            }
            document.extend_from_slice(&chunk);
        }
        Ok(KeySet::parse(&document)?)
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }
}
