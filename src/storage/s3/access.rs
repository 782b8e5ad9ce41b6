//! Authorisation: a key opens its own repository, and the members of that by their names. An admin key
//! also opens the repositories that were made with it.

use std::sync::Arc;

use http::Method;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::body::Watched;
use super::meaning::Meaning;
use super::parameters;
use super::payloads::WithoutLength;
use super::rotation::SecretAtHand;
use crate::storage::inventory::{Inventory, Repository};
use crate::storage::registry::exposed;
use crate::storage::{KeyMode, KeyPair, Store};

/// The secrets that signatures are made with.
pub(super) struct Keys(pub(super) Arc<Store>);

/// What keys may do.
pub(super) struct Permissions(pub(super) Arc<Store>);

/// What a request was allowed to use.
#[derive(Clone)]
pub(super) struct Allowed {
    pub(super) inventory: Arc<Inventory>,
    pub(super) key: Arc<KeyPair>,
    /// The repository of the key.
    pub(super) home: Arc<Repository>,
    /// The one that is meant.
    pub(super) repository: Arc<Repository>,
    /// The member that the client has named in place of the repository.
    pub(super) only: Option<usize>,
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let found = self.0.key_pair(access_key).await?;
        let unknown = || s3_error!(InvalidAccessKeyId);
        found
            .map(|key| SecretKey::from(exposed(SecretAtHand::of(&key))))
            .ok_or_else(unknown)
    }
}

#[async_trait::async_trait]
impl S3Access for Permissions {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let meaning = context.extensions_mut().get::<Meaning>().cloned();
        let meaning = meaning.unwrap_or_default();
        let credentials = context.credentials().ok_or_else(denied)?;
        let key = self.0.key_pair(&credentials.access_key).await?;
        let key = key.ok_or_else(denied)?;
        meaning.understand(context);
        let operation = context.s3_op().name();
        let needed = needed(context.method(), operation);
        let name = context.s3_path().get_bucket_name().map(str::to_owned);
        let may = key.mode >= needed;
        let home = Allowed::home(self.0.inventory.load_full(), key)?;
        if !may {
            let named = name.as_deref().and_then(|name| home.named(name).ok());
            if let Some(named) = &named {
                meaning.allow(&named.repository.row.name);
            }
            return Err(refusal(operation, named.is_some()));
        }
        let allowed = match (needed, name) {
            (KeyMode::Admin, _) | (_, None) => home,
            (_, Some(name)) => match home.named(&name) {
                Err(error) if *error.code() == S3ErrorCode::NoSuchBucket => {
                    self.0.look_again().await?;
                    Allowed::home(self.0.inventory.load_full(), home.key)?.named(&name)?
                }
                allowed => allowed?,
            },
        };
        if !context.s3_path().is_root() {
            meaning.allow(&allowed.repository.row.name);
        }
        let query = context.uri().query().unwrap_or_default();
        parameters::check(context.s3_op().name(), query, context.headers())?;
        look_at_body(context)?;
        context.extensions_mut().insert(allowed);
        Ok(())
    }
}

impl Allowed {
    fn home(inventory: Arc<Inventory>, key: Arc<KeyPair>) -> S3Result<Self> {
        let home = inventory.repository_of(&key).cloned();
        let home = home.ok_or_else(denied)?;
        Ok(Self {
            repository: Arc::clone(&home),
            home,
            inventory,
            key,
            only: None,
        })
    }

    /// The same for another name: of a repository, or of a member of the key's own.
    pub(super) fn named(&self, name: &str) -> S3Result<Self> {
        if let Some(found) = self.inventory.repository(name) {
            return match self.opens(found) {
                true => Ok(Self {
                    repository: Arc::clone(found),
                    only: None,
                    ..self.clone()
                }),
                false => Err(denied()),
            };
        }
        match self.inventory.named(name) {
            Some(bucket) if self.home.members.contains(&bucket) => Ok(Self {
                repository: Arc::clone(&self.home),
                only: Some(bucket),
                ..self.clone()
            }),
            Some(_) => Err(denied()),
            None => Err(s3_error!(NoSuchBucket)),
        }
    }

    /// The repositories that the key opens.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Repository>> {
        let all = self.inventory.repositories.iter();
        all.filter(|repository| self.opens(repository))
    }

    fn opens(&self, repository: &Repository) -> bool {
        let home = &self.home.row.id;
        let is_child = repository.row.parent.as_ref() == Some(home);
        repository.row.id == *home || self.key.mode == KeyMode::Admin && is_child
    }
}

/// The answer to an operation that the key is not for, on what it can use or not.
fn refusal(operation: &str, is_usable: bool) -> S3Error {
    match operation == "CreateBucket" && is_usable {
        // Some clients make a bucket before they write to it, and go on after this.
        true => s3_error!(
            BucketAlreadyOwnedByYou,
            "The bucket is there already, and the key can use it"
        ),
        false => denied(),
    }
}

/// Refuses a body that may have lost its length, and has the digests of one compared that is read as a whole after
/// this; those of objects are compared where they are stored.
fn look_at_body(context: &mut S3AccessContext<'_>) -> S3Result<()> {
    let marked = context.extensions_mut().get::<WithoutLength>().copied();
    WithoutLength::check(marked, context.s3_op().name())?;
    let is_object = matches!(
        context.s3_op().name(),
        "PutObject" | "PostObject" | "UploadPart"
    );
    let watched = context.extensions_mut().get::<Watched>().cloned();
    match watched.filter(|_| !is_object) {
        Some(watched) => watched.begin(context.headers(), context.uri().query()),
        None => Ok(()),
    }
}

fn needed(method: &Method, operation: &str) -> KeyMode {
    match (operation, method) {
        ("CreateBucket" | "DeleteBucket", _) => KeyMode::Admin,
        (_, &Method::GET | &Method::HEAD) => KeyMode::Read,
        _ => KeyMode::Write,
    }
}

pub(super) fn denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}
