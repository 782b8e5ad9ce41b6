//! Amazon S3, and every server that speaks its protocol.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider};

use super::remote::{Remote, no_retries, unusable};
use crate::storage::connector::{Guarded, Unguarded};
use crate::storage::credentials::{BucketCredentials, Role};
use crate::storage::location::Location;
use crate::storage::{NewBucket, StorageError};

pub(super) fn open(
    declared: &NewBucket,
    location: &Location,
    connector: &Guarded,
    credentials: &BucketCredentials,
) -> Result<Remote, StorageError> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&location.bucket)
        .with_region(&declared.region)
        .with_http_connector(connector.clone())
        .with_retry(no_retries())
        // The body travels over TLS, or in a network that is trusted; its hash is checked here.
        .with_unsigned_payload(true)
        .with_disable_tagging(true)
        // Not every server that speaks S3 deletes several objects at once.
        .with_disable_bulk_delete(true);
    if let Some(endpoint) = &location.endpoint {
        builder = builder
            .with_endpoint(endpoint)
            .with_allow_http(endpoint.starts_with("http://"));
    }
    let builder = match credentials {
        BucketCredentials::Key {
            access_key_id,
            secret_access_key,
        } => builder
            .with_access_key_id(access_key_id)
            .with_secret_access_key(secret_access_key),
        BucketCredentials::Role { role } => builder.with_credentials(of_role(declared, role)?),
        BucketCredentials::ServiceAccount { .. } => {
            let why = "serviceAccount: it does not open a bucket of S3";
            return Err(StorageError::Invalid(why.to_owned()));
        }
    };
    let store = builder.build().map_err(|error| unusable("url", &error))?;
    Ok(Remote::of(store))
}

/// What the process has. `object_store` reads the variables by itself that the platforms of AWS set.
fn of_role(declared: &NewBucket, role: &Role) -> Result<AwsCredentialProvider, StorageError> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name("credentials-only")
        .with_region(&declared.region)
        .with_http_connector(Unguarded)
        .with_retry(no_retries());
    if let Role::Assumed(arn) = role {
        let token = AmazonS3ConfigKey::WebIdentityTokenFile;
        if builder.get_config_value(&token).is_none() {
            let why = "role: it can be assumed only with a web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set";
            return Err(StorageError::Invalid(why.to_owned()));
        }
        builder = builder.with_config(AmazonS3ConfigKey::RoleArn, arn);
    }
    let store = builder.build().map_err(|error| unusable("role", &error))?;
    Ok(store.credentials().clone())
}
