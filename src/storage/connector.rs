//! How buckets are connected to: no redirect is followed, and no address is used that must not be an
//! endpoint.

use std::sync::Arc;
use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector};

use super::attempt::FIRST_BYTE;
use super::bucket::is_forbidden_address;

/// Connects to buckets.
#[derive(Debug)]
pub(super) struct Guarded;

/// Connects to what gives the process the credentials of its role, which may be a metadata address.
#[derive(Debug)]
pub(super) struct Unguarded;

impl HttpConnector for Guarded {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        client(reqwest::Client::builder().dns_resolver(Arc::new(Self)))
    }
}

impl HttpConnector for Unguarded {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        client(reqwest::Client::builder().no_proxy().timeout(FIRST_BYTE))
    }
}

fn client(builder: reqwest::ClientBuilder) -> object_store::Result<HttpClient> {
    // Only an endpoint that was declared with `http://` is asked without TLS: no redirect leads away.
    let client = builder
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(FIRST_BYTE)
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent("tidegate")
        .build();
    let failed = |error| object_store::Error::Generic {
        store: "HTTP",
        source: Box::new(error),
    };
    client.map(HttpClient::new).map_err(failed)
}

impl reqwest::dns::Resolve for Guarded {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<_> = found
                .filter(|address| !is_forbidden_address(address.ip()))
                .collect();
            if allowed.is_empty() {
                return Err("the name has no address that may be an endpoint".into());
            }
            Ok(Box::new(allowed.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use reqwest::dns::Resolve;

    use super::*;

    #[tokio::test]
    async fn a_name_that_resolves_to_a_metadata_address_is_not_connected_to() {
        for (name, is_allowed) in [
            ("127.0.0.1", true),
            ("169.254.169.254", false),
            ("100.100.100.200", false),
            ("fd00:ec2::254", false),
        ] {
            let resolved = Guarded.resolve(name.parse().unwrap()).await;
            assert_eq!(resolved.is_ok(), is_allowed, "{name}");
        }
    }
}
