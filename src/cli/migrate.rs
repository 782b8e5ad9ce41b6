//! `tidegate migrate`: the schema, applied by sqlx under an advisory lock, checksummed.

use std::str::FromStr;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr};

use super::Exit;
use super::arguments::MigrateCommand;
use super::primary::Primary;
use crate::config::Environment;

/// The files of `migrations/`, by version.
const FILES: [(i64, &str, &str); 5] = [
    (
        1,
        "reference",
        include_str!("../../migrations/0001_reference.sql"),
    ),
    (
        2,
        "accounts",
        include_str!("../../migrations/0002_accounts.sql"),
    ),
    (
        3,
        "ledger",
        include_str!("../../migrations/0003_ledger.sql"),
    ),
    (
        4,
        "history",
        include_str!("../../migrations/0004_history.sql"),
    ),
    (
        5,
        "payments",
        include_str!("../../migrations/0005_payments.sql"),
    ),
];

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
    let failed = |error: &dyn std::fmt::Display| Exit::failed(format_args!("{server}: {error}"));
    let mut connection = PgConnection::connect_with(&options)
        .await
        .map_err(|error| failed(&error))?;
    migrator()
        .run(&mut connection)
        .await
        .map_err(|error| failed(&error))?;
    if command.demo_data {
        let all = connection.execute(sqlx::raw_sql(AssertSqlSafe(DEMO_DATA)));
        all.await.map_err(|error| failed(&error))?;
    }
    connection.close().await.map_err(|error| failed(&error))
}

fn migrator() -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations(FILES.into_iter().map(migration).collect())
}
