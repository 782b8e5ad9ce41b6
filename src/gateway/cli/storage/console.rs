//! What every command needs: the primary, the master keys, and where its answer goes.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::arguments::{NamedArguments, OutputArguments};
use crate::gateway::cli::Exit;
use crate::gateway::cli::primary::Primary;
use crate::gateway::cli::url_warning::warn_of_url;
use crate::gateway::config::{CONFIG, Overrides, storage_keys, storage_settings};
use crate::postgres::{Connection, Session, connect};
use crate::storage::{
    BucketBackend, BucketRow, KeyRegistry, MasterKeys, Registry, StorageError, StorageSettings,
};
use tidegate_model::Environment;
use tidegate_model::error_chain::chain;

/// Time to connect to the primary.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// One command, with what it needs.
pub(super) struct Console {
    connection: Connection,
    master_keys: MasterKeys,
    pub(super) settings: StorageSettings,
    pub(super) json: bool,
}

impl Console {
    pub(super) async fn open(
        output: &OutputArguments,
        environment: &Environment,
    ) -> Result<Self, Exit> {
        let master_keys = storage_keys(environment)?;
        let overrides = Overrides::default().with(&CONFIG, output.config.clone());
        let settings = storage_settings(&overrides, environment)?;
        let primary = Primary::given(output.database_url.as_deref(), environment)?;
        let server = &primary.server;
        warn_of_url(server);
        let session = Session {
            application_name: "tidegate/storage".to_owned(),
            statement_timeout: STATEMENT_TIMEOUT,
        };
        let connection = connect(server, &session, CONNECT_DEADLINE).await;
        let connection =
            connection.map_err(|error| Exit::failed(format_args!("{server}: {error}")))?;
        Ok(Self {
            connection,
            master_keys,
            settings,
            json: output.json,
        })
    }

    pub(super) fn registry(&self) -> Registry<'_> {
        Registry::new(&self.connection.client, &self.master_keys)
    }

    pub(super) fn keys(&self) -> KeyRegistry<'_> {
        KeyRegistry(self.registry())
    }

    /// Checks a bucket; fails with the rights that are missing.
    pub(super) async fn rights(&self, bucket: &BucketRow) -> Result<(Value, String), Exit> {
        let backend = BucketBackend::new(bucket, &self.settings.file_root)?;
        let outcomes = backend.check().await;
        let rights: serde_json::Map<_, _> = outcomes
            .iter()
            .map(|(right, outcome)| ((*right).to_owned(), json!(outcome.is_ok())))
            .collect();
        let missing: Vec<_> = outcomes
            .iter()
            .filter_map(|(right, outcome)| Some(format!("{right}: {}", outcome.as_ref().err()?)))
            .collect();
        let shown = json!({"success": missing.is_empty(), "rights": rights});
        match missing.is_empty() {
            true => Ok((shown, "write, read, list and delete work".to_owned())),
            false => Err(Exit {
                report: match self.json {
                    true => format!("{shown}\n"),
                    false => String::new(),
                },
                ..Exit::failed(format_args!(
                    "{}: {}",
                    bucket.declared.name,
                    missing.join("; ")
                ))
            }),
        }
    }

    pub(super) fn done(&self, named: &NamedArguments, what: &str) -> Result<(), Exit> {
        let text = format!("{} {what}", named.name);
        self.print(&json!({"success": true}), &text)
    }

    pub(super) fn print(&self, value: &Value, text: &str) -> Result<(), Exit> {
        let line = match self.json {
            true => value.to_string(),
            false => text.to_owned(),
        };
        if line.is_empty() {
            return Ok(());
        }
        writeln!(std::io::stdout(), "{line}").map_err(Exit::failed)
    }
}

impl From<StorageError> for Exit {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Invalid(_)
            | StorageError::NotFound(..)
            | StorageError::NameTaken(_)
            | StorageError::Sealed(_) => Self::unusable(error),
            StorageError::NoMember(_) | StorageError::NoCopy(_) | StorageError::NotKept(_) => {
                Self::failed(chain(&error))
            }
            _ => Self::failed(error),
        }
    }
}
