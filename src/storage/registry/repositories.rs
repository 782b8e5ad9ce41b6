//! Repositories as rows.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::buckets::{Registry, in_use, new_id};
use super::members::{by_id, by_name, check_policy, used};
use super::named::{by_id_or_name, check_name};
use crate::storage::prepared::Values;
use crate::storage::{BucketRow, RepositoryPolicy, StorageError};

/// How often a change is made anew that somebody else was faster than.
const CHANGES_MAX: usize = 8;

pub(in crate::storage) const REPOSITORIES: &str = "select r.id, r.name, r.policy::text, \
     array(select b.name from tidegate.storage_member m join tidegate.storage_bucket b on b.id = m.bucket \
     where m.repository = r.id order by m.position), extract(epoch from r.created)::bigint, r.parent, \
     coalesce(r.restores_due <= now() or r.restores_after is not null, true), r.mirror_after is not null, \
     r.revision \
     from tidegate.storage_repository r order by r.name";

/// A repository as the database has it.
#[derive(Debug, Clone)]
pub struct RepositoryRow {
    /// Its id.
    pub id: String,
    /// What clients call it.
    pub name: String,
    /// Its members, in order of preference.
    pub members: Vec<String>,
    /// What it does with them.
    pub policy: RepositoryPolicy,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// The id of the repository whose admin key has made it.
    pub parent: Option<String>,
    /// Whether it is time to read a sample of its mirror back.
    pub restores_due: bool,
    /// Whether existing objects are still to become tasks of its mirror.
    pub is_mirror_changed: bool,
    /// Why it cannot be used, if its policy cannot be read.
    pub broken: Option<String>,
    /// Grows with every change.
    revision: i64,
}

impl RepositoryRow {
    /// Whether it can be used.
    ///
    /// # Errors
    /// Says why not.
    pub(in crate::storage) fn check(&self) -> Result<(), StorageError> {
        match &self.broken {
            Some(why) => Err(StorageError::Invalid(format!(
                "the repository `{}` cannot be used: {why}",
                self.name
            ))),
            None => Ok(()),
        }
    }
}

impl Registry<'_> {
    /// Adds a repository. Its buckets are given by their names or their ids.
    ///
    /// # Errors
    /// If the name is taken or not valid, or a member does not exist.
    pub async fn add_repository(
        &self,
        name: &str,
        members: &[String],
        policy: &RepositoryPolicy,
    ) -> Result<String, StorageError> {
        check_name(name)?;
        let (members, policy) = checked(&self.buckets().await?, members, policy)?;
        let (mirror, used) = used(&members, &policy);
        let (id, policy) = (new_id(), serde_json::to_string(&policy).unwrap_or_default());
        // The buckets are locked: one that is removed meanwhile is not left out.
        let sql = "with used as materialized (select id, name from tidegate.storage_bucket \
             where name = any ($4) or name = $5 order by id for key share), \
             whole as (select count(*) from used having count(*) = $6), \
             added as (insert into tidegate.storage_repository (id, name, policy) \
             select $1, $2, $3::jsonb from whole), members as (insert into tidegate.storage_member \
             select $1, used.id, given.position from whole \
             cross join unnest($4) with ordinality given (name, position) \
             join used on used.name = given.name) \
             insert into tidegate.storage_name (name, repository) select $2, $1 from whole returning 1";
        let values: Values<'_> = &[
            (&id, Type::TEXT),
            (&name, Type::TEXT),
            (&policy, Type::TEXT),
            (&members, Type::TEXT_ARRAY),
            (&mirror, Type::TEXT),
            (&used, Type::INT8),
        ];
        if self.add(name, sql, values).await?.is_empty() {
            let why = "buckets: a member or the mirror was removed meanwhile";
            return Err(StorageError::Invalid(why.to_owned()));
        }
        Ok(id)
    }

    /// Changes members and policy of a repository, by its name or its id; returns it as it is then. A bucket that
    /// is no member any more gets no writes; what it has is still read. If somebody else has changed it
    /// meanwhile, the change is made anew from what it is now, so that both hold.
    ///
    /// # Errors
    /// If there is none, or a member does not exist.
    pub async fn change_repository(
        &self,
        name: &str,
        change: impl Fn(&mut RepositoryRow),
    ) -> Result<RepositoryRow, StorageError> {
        for _ in 0..CHANGES_MAX {
            let mut row = self.repository(name).await?;
            row.check()?;
            let all = self.buckets().await?;
            // What it has is known by its name. Of what is given, an id goes before a name.
            (row.members, row.policy) = by_id(&all, &row.members, &row.policy);
            change(&mut row);
            (row.members, row.policy) = checked(&all, &row.members, &row.policy)?;
            if self.replace(&row).await? {
                return self.repository(&row.id).await;
            }
        }
        let why = format!("the repository `{name}` is being changed by others: try again");
        Err(StorageError::InUse(why))
    }

    /// Replaces a repository. False if it has changed since it was read, or a bucket was removed.
    async fn replace(&self, changed: &RepositoryRow) -> Result<bool, StorageError> {
        let (mirror, used) = used(&changed.members, &changed.policy);
        let policy = serde_json::to_string(&changed.policy).unwrap_or_default();
        // A write reads the policy under a lock that an update alone would not wait for. What could not be
        // moved to the members before may be moved now.
        let sql = "with locked as materialized (select id from tidegate.storage_repository \
             where id = $1 and revision = $4 for update), \
             used as materialized (select id, name from tidegate.storage_bucket \
             where name = any ($3) or name = $5 order by id for key share), \
             whole as (select id from locked where (select count(*) from used) = $6), \
             changed as (update tidegate.storage_repository r set policy = $2::jsonb, revision = $4 + 1 \
             from whole where r.id = whole.id), \
             members as (select whole.id as repository, used.id, given.position from whole \
             cross join unnest($3) with ordinality given (name, position) \
             join used on used.name = given.name), \
             gone as (delete from tidegate.storage_member m using whole where m.repository = whole.id \
             and m.bucket not in (select id from members)), \
             stay as (insert into tidegate.storage_member select repository, id, position from members \
             on conflict (repository, bucket) do update set position = excluded.position), \
             again as (update tidegate.storage_task t set failures = 0, \
             due = case when t.claim is null then now() else t.due end from whole \
             where t.repository = whole.id and t.kind = 'drain') \
             select 1 from whole";
        let values: Values<'_> = &[
            (&changed.id, Type::TEXT),
            (&policy, Type::TEXT),
            (&changed.members, Type::TEXT_ARRAY),
            (&changed.revision, Type::INT8),
            (&mirror, Type::TEXT),
            (&used, Type::INT8),
        ];
        Ok(!self.run(sql, values).await?.is_empty())
    }

    /// Removes a repository without objects, and its keys; by its name or its id.
    ///
    /// # Errors
    /// If there is none, it has objects, or others were made with its keys.
    pub async fn remove_repository(&self, name: &str) -> Result<(), StorageError> {
        let repository = self.repository(name).await?;
        let sql = "select 1 from tidegate.storage_repository \
             where id = $1 and tidegate.storage_remove_repository(id)";
        let removed = self.one("repository", &repository.id, sql).await;
        in_use(removed, || {
            format!(
                "the repository `{}` has objects, or others were made with its keys",
                repository.name
            )
        })
    }

    /// Returns all repositories, also those whose policy cannot be read.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn repositories(&self) -> Result<Vec<RepositoryRow>, StorageError> {
        let rows = self.run(REPOSITORIES, &[]).await?;
        rows.iter().map(repository).collect()
    }

    /// Returns a repository, by its id or else its name.
    ///
    /// # Errors
    /// If there is none.
    pub async fn repository(&self, name: &str) -> Result<RepositoryRow, StorageError> {
        let all = self.repositories().await?;
        let found = by_id_or_name(all, name, |it| [&*it.id, &*it.name]);
        found.ok_or_else(|| StorageError::NotFound("repository", name.to_owned()))
    }
}

/// Returns members and policy with the names of all buckets, if they can be used.
fn checked(
    all: &[BucketRow],
    members: &[String],
    policy: &RepositoryPolicy,
) -> Result<(Vec<String>, RepositoryPolicy), StorageError> {
    let (members, policy) = by_name(all, members, policy);
    check_policy(all, &members, &policy).map_err(StorageError::Invalid)?;
    Ok((members, policy))
}

/// Reads a row of [`REPOSITORIES`].
pub(in crate::storage) fn repository(row: &Row) -> Result<RepositoryRow, StorageError> {
    let policy: &str = row.try_get(2)?;
    // One that cannot be read is shown as such, and holds no other up.
    let (policy, broken) = match serde_json::from_str(policy) {
        Ok(policy) => (policy, None),
        Err(error) => (
            RepositoryPolicy::default(),
            Some(format!("policy: {error}")),
        ),
    };
    Ok(RepositoryRow {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        policy,
        broken,
        revision: row.try_get(8)?,
        members: row.try_get(3)?,
        created: row.try_get(4)?,
        parent: row.try_get(5)?,
        restores_due: row.try_get(6)?,
        is_mirror_changed: row.try_get(7)?,
    })
}
