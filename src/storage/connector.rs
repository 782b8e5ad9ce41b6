//! How buckets are connected to: no redirect is followed, and no address is used that must not be an
//! endpoint.

use std::sync::Arc;
use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector};

use super::attempt::FIRST_BYTE;
use super::endpoint::{Reach, check_address};
use super::unnamable::{ListsPaths, Unnamable};

/// Connects to buckets.
#[derive(Debug, Clone)]
pub(super) struct Guarded {
    reach: Reach,
    unnamable: Arc<Unnamable>,
}

impl Guarded {
    pub(super) fn new(reach: Reach) -> Self {
        Self {
            reach,
            unnamable: Arc::default(),
        }
    }

    /// The keys that were left out of lists.
    pub(super) fn unnamable(&self) -> Arc<Unnamable> {
        Arc::clone(&self.unnamable)
    }
}

/// Connects to what gives the process the credentials of its role, which may be a metadata address.
#[derive(Debug)]
pub(super) struct Unguarded;

impl HttpConnector for Guarded {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let builder = reqwest::Client::builder().dns_resolver(Arc::new(self.clone()));
        let client = client(match self.reach {
            // A proxy looks names up by itself.
            Reach::Public => builder.no_proxy(),
            Reach::Any => builder,
        })?;
        Ok(HttpClient::new(ListsPaths {
            client,
            unnamable: self.unnamable(),
        }))
    }
}

impl HttpConnector for Unguarded {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        client(reqwest::Client::builder().no_proxy().timeout(FIRST_BYTE)).map(HttpClient::new)
    }
}

fn client(builder: reqwest::ClientBuilder) -> object_store::Result<reqwest::Client> {
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
    client.map_err(failed)
}

impl reqwest::dns::Resolve for Guarded {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let reach = self.reach;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<_> = found
                .filter(|address| check_address(address.ip(), reach).is_ok())
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
        for (name, reach, is_allowed) in [
            ("127.0.0.1", Reach::Any, true),
            ("127.0.0.1", Reach::Public, false),
            ("localhost", Reach::Public, false),
            ("169.254.169.254", Reach::Any, false),
            ("100.100.100.200", Reach::Any, false),
            ("fd00:ec2::254", Reach::Any, false),
        ] {
            let resolved = Guarded::new(reach).resolve(name.parse().unwrap()).await;
            assert_eq!(resolved.is_ok(), is_allowed, "{name}");
        }
    }
}
