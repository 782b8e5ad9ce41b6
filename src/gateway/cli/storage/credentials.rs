//! Where `tidegate storage` takes the credentials of a bucket from: never from its arguments, which other
//! users of the machine can read.

use std::io::Read;

use super::arguments::{CredentialsArguments, CredentialsSource};
use crate::gateway::cli::Exit;
use crate::storage::{BucketCredentials, CREDENTIALS_BYTES_MAX, Role};
use tidegate_model::Environment;

const ACCESS_KEY_ID: &str = "STORAGE_BUCKET_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "STORAGE_BUCKET_SECRET_ACCESS_KEY";

/// Reads the credentials.
pub(super) fn credentials_from(
    source: &CredentialsArguments,
    environment: &Environment,
) -> Result<BucketCredentials, Exit> {
    if let Some(role) = source.role.clone() {
        return Ok(BucketCredentials::Role { role });
    }
    match source.credentials {
        CredentialsSource::Env => from_environment(environment),
        CredentialsSource::Stdin => from_input(std::io::stdin().lock()),
        CredentialsSource::Role => Ok(BucketCredentials::Role {
            role: Role::Process,
        }),
    }
}

fn from_environment(environment: &Environment) -> Result<BucketCredentials, Exit> {
    let variable = |name: &str| {
        let value = environment.get(name).map(str::to_owned);
        value.ok_or_else(|| {
            Exit::unusable(format_args!(
                "{name}: is required: the bucket's credentials"
            ))
        })
    };
    Ok(BucketCredentials::Key {
        access_key_id: variable(ACCESS_KEY_ID)?,
        secret_access_key: variable(SECRET_ACCESS_KEY)?,
    })
}

fn from_input(input: impl Read) -> Result<BucketCredentials, Exit> {
    let mut text = String::new();
    let mut limited = input.take(CREDENTIALS_BYTES_MAX as u64);
    let unusable =
        |why: &dyn std::fmt::Display| Exit::unusable(format_args!("standard input: {why}"));
    limited
        .read_to_string(&mut text)
        .map_err(|error| unusable(&error))?;
    BucketCredentials::read(&text).map_err(|why| unusable(&why))
}
