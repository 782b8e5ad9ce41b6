//! Google Cloud Storage by its own protocol. With an HMAC key a bucket is reached through its S3 interface.

use object_store::gcp::GoogleCloudStorageBuilder;

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
    let endpoint = location.endpoint.as_deref().unwrap_or_default();
    let builder = GoogleCloudStorageBuilder::new()
        .with_base_url(endpoint)
        .with_bucket_name(&location.bucket)
        .with_http_connector(connector.clone())
        .with_retry(no_retries());
    let store = match credentials {
        BucketCredentials::ServiceAccount { service_account } => {
            let json = serde_json::to_string(service_account).unwrap_or_default();
            let store = builder.with_service_account_key(json).build();
            store.map_err(|_it_may_quote_the_key| {
                let why = "serviceAccount: expected a private_key in PEM, as Google writes it";
                StorageError::Invalid(why.to_owned())
            })?
        }
        _ => {
            // What the process has. `object_store` reads the variables by itself that Google sets.
            let role = GoogleCloudStorageBuilder::from_env()
                .with_bucket_name("credentials-only")
                .with_http_connector(Unguarded)
                .with_retry(no_retries());
            let role = role.build().map_err(|error| unusable("role", &error))?;
            let builder = builder
                .with_credentials(role.credentials().clone())
                .with_signing_credentials(role.signing_credentials().clone());
            let store = builder.build();
            store.map_err(|error| unusable("url", &error))?
        }
    };
    Ok(Remote::of(store))
}
