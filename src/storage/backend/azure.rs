//! Azure Blob Storage.
//!
//! It cannot give up a body that was sent in parts: blocks that were not put together are gone after a
//! week, and until then count at the provider but not here.

use object_store::azure::{AzureAccessKey, MicrosoftAzureBuilder};

use super::remote::{Remote, no_retries, unusable};
use crate::storage::StorageError;
use crate::storage::connector::{Guarded, Unguarded};
use crate::storage::credentials::BucketCredentials;
use crate::storage::location::Location;

pub(super) fn open(
    location: &Location,
    connector: &Guarded,
    credentials: &BucketCredentials,
) -> Result<Remote, StorageError> {
    let endpoint = location.endpoint.clone().unwrap_or_default();
    let builder = MicrosoftAzureBuilder::new()
        .with_allow_http(endpoint.starts_with("http://"))
        .with_endpoint(endpoint)
        .with_container_name(&location.bucket)
        .with_http_connector(connector.clone())
        .with_retry(no_retries())
        .with_disable_tagging(true);
    let builder = match credentials {
        BucketCredentials::Key {
            access_key_id,
            secret_access_key,
        } => {
            AzureAccessKey::try_new(secret_access_key).map_err(|_its_bytes| {
                let why = "secretAccessKey: expected the key of a storage account, in Base64";
                StorageError::Invalid(why.to_owned())
            })?;
            builder
                .with_account(access_key_id)
                .with_access_key(secret_access_key)
        }
        _ => {
            // What the process has. `object_store` reads the variables by itself that Azure sets.
            let role = MicrosoftAzureBuilder::from_env()
                .with_account("credentials-only")
                .with_container_name("credentials-only")
                .with_http_connector(Unguarded)
                .with_retry(no_retries());
            let role = role.build().map_err(|error| unusable("role", &error))?;
            builder
                .with_account(location.account())
                .with_credentials(role.credentials().clone())
        }
    };
    let store = builder.build().map_err(|error| unusable("url", &error))?;
    Ok(Remote::of(store))
}
