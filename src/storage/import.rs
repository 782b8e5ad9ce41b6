//! Objects that were in a bucket before become objects of a repository, without being copied.
//!
//! What this gateway has written lies below a prefix of its own, and is left out unless that prefix is asked
//! for: of an index that was restored from a backup, that finds what was written since, by its id.
//!
//! What an imported copy is, its provider's key and `ETag` say: it is read on condition that they hold. The
//! content type and the metadata of an object are not read, which would take a request for each.

use std::collections::HashSet;

use futures_util::future::join;
use futures_util::{StreamExt, stream};
use object_store::ObjectMeta;
use object_store::path::Path;
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::backend::BucketBackend;
use super::fault::Fault;
use super::object_name::{ObjectName, PREFIX, is_trial, own_path};
use super::prepared::Values;
use super::registry::{new_id, signed, unsigned};
use super::transfer::Fingerprint;
use super::unnamable::is_namable;
use super::{BucketRow, Registry, RepositoryRow, StorageError};

/// Objects that are imported in one transaction: each takes a lock.
const BATCH: usize = 500;
/// Objects of which the provider is asked for the `ETag` at the same time, if its list does not have it.
const HEADS: usize = 16;
/// Objects that are read at the same time, of which it is not known whether the index has lost them.
const READS: usize = 8;

/// Objects that an import forgets without being told to, if they are more than half of those that it knows.
const GONE_MAX: i64 = 10;
/// How often a statement is tried that waits for a write, and the write for it.
const ATTEMPTS: usize = 5;

/// What is imported.
#[derive(Debug, Clone)]
pub struct Import {
    /// The bucket.
    pub bucket: BucketRow,
    /// The repository, of which the bucket is a member.
    pub repository: RepositoryRow,
    /// What the keys begin with, up to a slash; empty for all.
    pub prefix: String,
    /// Whether the objects belong to the repository from now on: they are deleted with it.
    pub adopt: bool,
    /// Whether most of what was imported may be forgotten because it is not listed any more.
    pub accept_gone: bool,
    /// How long the other copies of an object that was replaced are kept.
    pub sweep_after: std::time::Duration,
}

/// What an import has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Objects that were not known.
    pub added: u64,
    /// Copies that the index had lost: the bytes are those of an object that it has.
    pub reattached: u64,
    /// Objects that are others than before.
    pub changed: u64,
    /// Objects that are the same.
    pub unchanged: u64,
    /// Keys under which clients have stored objects, which stay, and objects that the index has already.
    pub kept: u64,
    /// Objects that are not there any more.
    pub gone: u64,
    /// Objects without an `ETag`, empty ones that only stand for a folder, and what checks of the bucket have left.
    pub skipped: u64,
    /// Objects whose keys cannot be asked for here, such as `a//b` and `/a`.
    pub unusable: u64,
    /// The first thousand of them.
    pub unusable_keys: Vec<String>,
}

/// Imports the objects of a bucket; doing it again finds what has changed. One that is cut off can be run
/// again.
///
/// # Errors
/// If the bucket is not a member, cannot be listed, or the database fails.
pub async fn import(
    registry: &Registry<'_>,
    given: &Import,
    file_root: &str,
) -> Result<Imported, StorageError> {
    let name = &given.bucket.declared.name;
    let prefix = given.prefix.strip_suffix('/').unwrap_or(&given.prefix);
    if !given.prefix.is_empty() && !is_namable(prefix) {
        let why = "prefix: expected the beginning of keys up to a slash, without empty segments";
        return Err(StorageError::Invalid(why.to_owned()));
    }
    given.repository.check()?;
    let below = Path::parse(prefix).map_err(|error| StorageError::Invalid(error.to_string()))?;
    let own = Path::from(PREFIX);
    let wants_own = below.prefix_matches(&own);
    let mirror = given.repository.policy.mirror.as_ref();
    // In a mirror there is only what gateways have written.
    let is_mirror = wants_own && mirror.is_some_and(|mirror| mirror.to == *name);
    if !is_mirror && !given.repository.members.contains(name) {
        let why = format!("`{name}` is not a member of `{}`", given.repository.name);
        return Err(StorageError::Invalid(why));
    }
    let backend = BucketBackend::new(&given.bucket, file_root)?;
    let begun = registry.run("select now()::text", &[]).await?;
    let begun: String = begun
        .first()
        .map(|row| row.try_get(0))
        .transpose()?
        .unwrap_or_default();
    let listed = backend.list((!prefix.is_empty()).then_some(&below));
    let wanted = listed.filter(|found| {
        let is_own = found
            .as_ref()
            .is_ok_and(|it| it.location.prefix_matches(&own));
        std::future::ready(wants_own || !is_own)
    });
    let whole = wanted
        .map(|found| async { complete(&backend, found?).await })
        .buffered(HEADS);
    let mut batches = std::pin::pin!(whole.chunks(BATCH));
    let mut done = Imported::default();
    let mut next = batches.next().await;
    while let Some(batch) = next {
        let batch = batch.into_iter().collect::<Result<Vec<_>, _>>();
        let batch = batch.map_err(|fault| StorageError::NoCopy(Some(fault)))?;
        let taken = take(
            registry,
            given,
            &backend,
            &batch,
            (wants_own, begun.as_str()),
            &mut done,
        );
        // The provider lists more meanwhile.
        let (taken, following) = join(taken, batches.next()).await;
        taken?;
        next = following;
    }
    let unnamable = backend.unnamable();
    done.skipped += unnamable.folders;
    done.unusable = unnamable.count;
    done.unusable_keys = unnamable.keys;
    let listing = Listing {
        // As the provider was asked: what begins with the same letters only is not below it.
        below: match prefix {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        },
        wants_own,
        begun,
    };
    refuse_loss(registry, given, &listing).await?;
    done.gone = gone(registry, given, &listing).await?;
    Ok(done)
}

/// Takes objects that were listed since a time.
async fn take(
    registry: &Registry<'_>,
    given: &Import,
    backend: &BucketBackend,
    listed: &[Option<ObjectMeta>],
    (wants_own, begun): (bool, &str),
    done: &mut Imported,
) -> Result<(), StorageError> {
    let mut found: Vec<_> = listed.iter().flatten().collect();
    done.skipped += (listed.len() - found.len()) as u64;
    if wants_own {
        let reattached = reattach(registry, given, backend, &found).await?;
        found.retain(|it| !reattached.contains(it.location.as_ref()));
        done.reattached += reattached.len() as u64;
    }
    add(registry, given, &found, begun, done).await
}

/// An object with its `ETag`; nothing if it has none, is nobody's, or is not there under its own key: a
/// provider's page shows folders as objects whose key ends in a slash.
async fn complete(
    backend: &BucketBackend,
    listed: ObjectMeta,
) -> Result<Option<ObjectMeta>, Fault> {
    if is_trial(&listed.location) {
        return Ok(None);
    }
    if listed.e_tag.is_some() && listed.size > 0 {
        return Ok(Some(listed));
    }
    let asked = backend.meta(&listed.location).await?;
    Ok(asked
        .filter(|it| it.e_tag.is_some())
        .map(|asked| ObjectMeta {
            location: listed.location,
            ..asked
        }))
}

/// Gives objects that the index has lost back to the blobs whose bytes they have; returns their keys.
async fn reattach(
    registry: &Registry<'_>,
    given: &Import,
    backend: &BucketBackend,
    found: &[&ObjectMeta],
) -> Result<HashSet<String>, StorageError> {
    let own = |it: &&ObjectMeta| {
        let id = it.location.filename()?.to_owned();
        (own_path(&id) == it.location).then(|| (id, signed(Some(it.size))))
    };
    let (ids, sizes): (Vec<_>, Vec<_>) = found.iter().filter_map(own).unzip();
    let sql = "select id, size from tidegate.storage_import_lost($1, $2, $3)";
    let values: Values<'_> = &[
        (&given.bucket.id, Type::TEXT),
        (&ids, Type::TEXT_ARRAY),
        (&sizes, Type::INT8_ARRAY),
    ];
    let rows = registry.run(sql, values).await?;
    let lost = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let lost = lost.collect::<Result<Vec<(String, i64)>, StorageError>>()?;
    let reads = lost.into_iter().map(|(id, size)| async move {
        let unknown = Fingerprint {
            size: unsigned(Some(size)).unwrap_or_default(),
            sha256: String::new(),
        };
        let read = unknown.read(backend, ObjectName::Own(&id)).await;
        (id, size, read)
    });
    let mut reads = stream::iter(reads).buffer_unordered(READS);
    let mut reattached = HashSet::new();
    while let Some((id, size, read)) = reads.next().await {
        let read = read.map_err(|fault| StorageError::NoCopy(Some(fault)))?;
        let Some(sha256) = read else { continue };
        let sql = "select tidegate.storage_import_found($1, $2, $3, $4)";
        let values: Values<'_> = &[
            (&given.bucket.id, Type::TEXT),
            (&id, Type::TEXT),
            (&size, Type::INT8),
            (&sha256, Type::TEXT),
        ];
        let rows = changing(registry, sql, values).await?;
        if rows.first().map(|row| row.try_get(0)).transpose()? == Some(true) {
            reattached.insert(own_path(&id).to_string());
        }
    }
    Ok(reattached)
}

/// Runs a statement that changes objects; again if it and a write have waited for one another.
async fn changing(
    registry: &Registry<'_>,
    sql: &str,
    values: Values<'_>,
) -> Result<Vec<Row>, StorageError> {
    for _ in 1..ATTEMPTS {
        match registry.run(sql, values).await {
            Err(StorageError::Database(error))
                if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) => {}
            done => return done,
        }
    }
    registry.run(sql, values).await
}

async fn add(
    registry: &Registry<'_>,
    given: &Import,
    found: &[&ObjectMeta],
    begun: &str,
    done: &mut Imported,
) -> Result<(), StorageError> {
    let ids: Vec<_> = found.iter().map(|_| new_id()).collect();
    let keys: Vec<_> = found.iter().map(|it| it.location.as_ref()).collect();
    let sizes = found.iter().map(|it| i64::try_from(it.size));
    let sizes = sizes
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_too_large| StorageError::Invalid("an object is too large".to_owned()))?;
    let etags: Vec<_> = found.iter().map(|it| it.e_tag.as_deref()).collect();
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds are exact for longer than any date"
    )]
    let seconds = |it: &&ObjectMeta| it.last_modified.timestamp() as f64;
    let modified: Vec<_> = found.iter().map(seconds).collect();
    let after = given.sweep_after.as_secs_f64();
    let sql = "select added, changed, unchanged, kept from tidegate.storage_import(\
         $1, $2, $3, $4, $5, $6, $7, $8, $10::timestamptz, $9::float8 * interval '1 s')";
    let values: Values<'_> = &[
        (&given.repository.id, Type::TEXT),
        (&given.bucket.id, Type::TEXT),
        (&ids, Type::TEXT_ARRAY),
        (&keys, Type::TEXT_ARRAY),
        (&sizes, Type::INT8_ARRAY),
        (&etags, Type::TEXT_ARRAY),
        (&modified, Type::FLOAT8_ARRAY),
        (&given.adopt, Type::BOOL),
        (&after, Type::FLOAT8),
        (&begun, Type::TEXT),
    ];
    let rows = changing(registry, sql, values).await?;
    if let Some(row) = rows.first() {
        let count = |at: usize| -> Result<u64, StorageError> {
            Ok(unsigned(Some(row.try_get(at)?)).unwrap_or_default())
        };
        done.added += count(0)?;
        done.changed += count(1)?;
        done.unchanged += count(2)?;
        done.kept += count(3)?;
    }
    Ok(())
}

/// What was listed.
struct Listing {
    /// What the keys begin with.
    below: String,
    wants_own: bool,
    /// When, by the clock of the database.
    begun: String,
}

/// Fails if the list lacks so much that its bucket has rather not shown it, as a folder that is not mounted.
async fn refuse_loss(
    registry: &Registry<'_>,
    given: &Import,
    listing: &Listing,
) -> Result<(), StorageError> {
    let sql =
        "select unseen, known from tidegate.storage_import_unseen($1, $2, $3, $4, $5::timestamptz)";
    let values: Values<'_> = &[
        (&given.repository.id, Type::TEXT),
        (&given.bucket.id, Type::TEXT),
        (&listing.below, Type::TEXT),
        (&listing.wants_own, Type::BOOL),
        (&listing.begun, Type::TEXT),
    ];
    let rows = registry.run(sql, values).await?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    let (unseen, known): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let is_most = unseen > GONE_MAX && unseen > known / 2;
    match unseen > 0 && (is_most || unseen == known) && !given.accept_gone {
        true => Err(StorageError::Invalid(format!(
            "`{}` does not list {unseen} of {known} objects that were imported from it: they are kept. Is it the \
             right bucket, and all of it? If they are gone, give --accept-gone",
            given.bucket.declared.name
        ))),
        false => Ok(()),
    }
}

/// Forgets what the list did not have any more.
async fn gone(
    registry: &Registry<'_>,
    given: &Import,
    listing: &Listing,
) -> Result<u64, StorageError> {
    let after = given.sweep_after.as_secs_f64();
    let sql = "select tidegate.storage_import_gone(\
         $1, $2, $3, $7, $4::timestamptz, $5, $6::float8 * interval '1 s')";
    let most = i32::try_from(BATCH).unwrap_or(i32::MAX);
    let values: Values<'_> = &[
        (&given.repository.id, Type::TEXT),
        (&given.bucket.id, Type::TEXT),
        (&listing.below, Type::TEXT),
        (&listing.begun, Type::TEXT),
        (&most, Type::INT4),
        (&after, Type::FLOAT8),
        (&listing.wants_own, Type::BOOL),
    ];
    let mut total = 0;
    loop {
        let rows = changing(registry, sql, values).await?;
        let gone = rows.first().map(|row| row.try_get(0)).transpose()?;
        match unsigned(gone).unwrap_or_default() {
            0 => return Ok(total),
            gone => total += gone,
        }
    }
}
