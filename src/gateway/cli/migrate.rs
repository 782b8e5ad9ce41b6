//! `tidegate migrate`: the schema, applied by sqlx under an advisory lock, checksummed.

use std::str::FromStr;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgErrorPosition, PgSslMode};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr};

use super::Exit;
use super::arguments::{MigrateCommand, Schema};
use super::primary::Primary;
use super::url_warning::warn_of_url;
use crate::gateway::config::has_fleet;
use crate::postgres::SslMode;
use tidegate_model::Environment;
use tokio_postgres::config::SslMode as Negotiation;

/// The files of `migrations/` for the built-in API, by version.
const API: [(i64, &str, &str); 5] = [
    (
        1,
        "reference",
        include_str!("../../../migrations/0001_reference.sql"),
    ),
    (
        2,
        "accounts",
        include_str!("../../../migrations/0002_accounts.sql"),
    ),
    (
        3,
        "ledger",
        include_str!("../../../migrations/0003_ledger.sql"),
    ),
    (
        4,
        "history",
        include_str!("../../../migrations/0004_history.sql"),
    ),
    (
        5,
        "payments",
        include_str!("../../../migrations/0005_payments.sql"),
    ),
];

/// The files of `migrations/traffic/`: the policy store.
const TRAFFIC: [(i64, &str, &str); 1] = [(
    1,
    "policy_store",
    include_str!("../../../migrations/traffic/0001_policy_store.sql"),
)];

/// The files of `migrations/storage/`: object storage.
const STORAGE: [(i64, &str, &str); 9] = [
    (
        1,
        "storage",
        include_str!("../../../migrations/storage/0001_storage.sql"),
    ),
    (
        2,
        "doom",
        include_str!("../../../migrations/storage/0002_doom.sql"),
    ),
    (
        3,
        "repair",
        include_str!("../../../migrations/storage/0003_repair.sql"),
    ),
    (
        4,
        "moving",
        include_str!("../../../migrations/storage/0004_moving.sql"),
    ),
    (
        5,
        "management",
        include_str!("../../../migrations/storage/0005_management.sql"),
    ),
    (
        6,
        "statistics",
        include_str!("../../../migrations/storage/0006_statistics.sql"),
    ),
    (
        7,
        "fairness",
        include_str!("../../../migrations/storage/0007_fairness.sql"),
    ),
    (
        8,
        "import",
        include_str!("../../../migrations/storage/0008_import.sql"),
    ),
    (
        9,
        "part_checksums",
        include_str!("../../../migrations/storage/0009_part_checksums.sql"),
    ),
];

/// What waits for a lock of a table has all others that come later wait behind it, of gateways as well; they give up
/// after 5 s.
const LOCK_TIMEOUT: &str = "set lock_timeout = '3s'";
/// The code of `lock_not_available`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

const DEMO_DATA: &str = include_str!("demo_data.sql");

/// Applies what is missing; doing it again changes nothing.
pub(super) async fn migrate(
    command: MigrateCommand,
    environment: &Environment,
) -> Result<(), Exit> {
    let primary = Primary::given(command.database_url.as_deref(), environment)?;
    let server = &primary.server;
    let options = PgConnectOptions::from_str(primary.url)
        .map_err(|error| primary.refused(error))?
        .application_name("tidegate/migrate");
    warn_of_url(server);
    let failed = |error: &dyn std::fmt::Display| Exit::failed(format_args!("{server}: {error}"));
    let refused = |error: &sqlx::Error| failed(&said(error));
    let mut connection = connect(options, server.ssl_mode())
        .await
        .map_err(|error| refused(&error))?;
    let mut schemas = command.only;
    if schemas.is_empty() {
        schemas.push(Schema::Api);
        if has_fleet(environment)? {
            schemas.push(Schema::Traffic);
        }
    }
    // Another migration that is under way may take its time. The lock ends with the connection.
    let locked = connection.lock().await;
    locked.map_err(|error| failed(&explained(&error, None)))?;
    let limited = connection.execute(sqlx::raw_sql(LOCK_TIMEOUT)).await;
    limited.map_err(|error| refused(&error))?;
    for schema in schemas {
        let migrator = migrator(schema);
        let run = migrator.run(&mut connection).await;
        run.map_err(|error| failed(&explained(&error, Some(&migrator))))?;
    }
    if command.demo_data {
        let all = connection.execute(sqlx::raw_sql(AssertSqlSafe(DEMO_DATA)));
        all.await.map_err(|error| refused(&error))?;
    }
    let closed = connection.close().await;
    closed.map_err(|error| refused(&error))
}

/// An error in words. Of the server's own, its text has a line of PostgreSQL's source, which says nothing to a user.
fn said(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
}

/// The line of a text at a position: PostgreSQL counts characters, from 1.
fn line_at(text: &str, position: usize) -> usize {
    let before = text.chars().take(position.saturating_sub(1));
    before.filter(|it| *it == '\n').count() + 1
}

/// Where in its text a migration has failed, if the server says so.
fn place(error: &sqlx::Error, migration: &Migration) -> Option<String> {
    let error = error.as_database_error()?;
    let PgErrorPosition::Original(position) =
        error.try_downcast_ref::<PgDatabaseError>()?.position()?
    else {
        return None;
    };
    let line = line_at(migration.sql.as_str(), position);
    Some(format!(" at line {line} of the migration"))
}

/// Says what has failed, and what to do where others hold a table.
fn explained(error: &MigrateError, migrator: Option<&Migrator>) -> String {
    let (cause, error) = match error {
        MigrateError::Execute(cause) => (
            Some(cause),
            format!("while executing migrations: {}", said(cause)),
        ),
        MigrateError::ExecuteMigration(cause, version) => {
            let mut migrations = migrator.into_iter().flat_map(Migrator::iter);
            let failed = migrations.find(|it| it.version == *version);
            let place = failed.and_then(|it| place(cause, it)).unwrap_or_default();
            let said = said(cause);
            let text = format!("while executing migration {version}: {said}{place}");
            (Some(cause), text)
        }
        other => (None, other.to_string()),
    };
    let code = cause
        .and_then(sqlx::Error::as_database_error)
        .and_then(|error| error.code());
    match code.as_deref() {
        Some(LOCK_NOT_AVAILABLE) => format!(
            "{error}: a long query, a transaction or a backup uses a table, and nothing of this migration was done: \
             run it again when that has ended"
        ),
        _ => error,
    }
}

/// Connects as [`Session::open`](crate::postgres::Session::open) does: if the server refuses the
/// first way that `sslmode` allows, it tries the second.
async fn connect(options: PgConnectOptions, mode: SslMode) -> Result<PgConnection, sqlx::Error> {
    let negotiate = async |negotiation| {
        let options = options.clone();
        let options = match negotiation {
            Negotiation::Disable => options.ssl_mode(PgSslMode::Disable),
            Negotiation::Require if mode == SslMode::Allow => options.ssl_mode(PgSslMode::Require),
            // As sqlx parsed it from the URL.
            _ => options,
        };
        PgConnection::connect_with(&options).await
    };
    let (first, second) = mode.negotiations();
    match (negotiate(first).await, second) {
        (Err(refusal), Some(second)) if is_refusal(&refusal) => negotiate(second).await,
        (connected, _) => connected,
    }
}

/// Whether the server may accept a connection with the other choice of encryption.
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    let authorization = code.is_some_and(|code| code.starts_with("28") || code.starts_with("08"));
    let handshake = match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.get_ref().is_some_and(|it| it.is::<rustls::Error>()),
        _ => false,
    };
    authorization || handshake
}

/// The schemas beside the API's remember what was applied beside their tables.
fn migrator(schema: Schema) -> Migrator {
    let (files, table) = match schema {
        Schema::Api => (&API[..], None),
        Schema::Traffic => (&TRAFFIC[..], Some("tidegate.migrations")),
        Schema::Storage => (&STORAGE[..], Some("tidegate.storage_migrations")),
    };
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(
            *version,
            (*name).into(),
            MigrationType::Simple,
            (*sql).into_sql_str(),
            false,
        )
    };
    let mut migrator = Migrator::with_migrations(files.iter().map(migration).collect());
    if let Some(table) = table {
        migrator.create_schema("tidegate");
        migrator.dangerous_set_table_name(table);
    }
    // The lock is there already.
    migrator.set_locking(false);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_line_of_the_migration_and_counts_characters() {
        let text = "-- é\ncreate table a ();\nselekt 1;\n";
        let at = |what: &str| text[..text.find(what).unwrap()].chars().count() + 1;
        assert_eq!(line_at(text, at("create")), 2);
        assert_eq!(line_at(text, at("selekt")), 3);
        assert_eq!((line_at(text, 0), line_at(text, 1)), (1, 1));
        assert_eq!(line_at(text, usize::MAX), 4);
    }
}
