//! A primary and its streaming replicas, made in about two seconds and gone with the process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use futures_util::future::try_join_all;

use super::postgres_binaries::PostgresBinaries;
use super::postgres_server::{PostgresServer, USER};
use super::postgres_sql::conninfo;
use super::workspace::Workspace;

/// Durability is given up for speed, visibility is not: with `synchronous_commit = off` a commit
/// would reach the replicas 200 ms late. The replicas are cold copies of a tree that has never run,
/// so the primary keeps all WAL it has ever written, up to a gigabyte.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 300
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
fsync = off
full_page_writes = off
synchronous_commit = on
wal_keep_size = 1GB
max_wal_senders = 10
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 200ms
hot_standby = on
jit = off
";

/// A data directory that has never run.
const TEMPLATE: &str = "template";

/// One primary and any number of replicas on 127.0.0.1.
pub struct Cluster {
    /// The server that takes writes, until a replica is promoted.
    pub primary: PostgresServer,
    /// The servers that stream from it.
    pub replicas: Vec<PostgresServer>,
    binaries: PostgresBinaries,
    workspace: Arc<Workspace>,
}

impl Cluster {
    /// Makes and starts the servers, and waits until every replica streams.
    ///
    /// # Errors
    ///
    /// Fails when PostgreSQL is neither found nor installed, or a server does not start.
    pub async fn start(replicas: usize) -> Result<Self> {
        let binaries = PostgresBinaries::find_or_install()?;
        let workspace = Arc::new(Workspace::create()?);
        make_template(&workspace, &binaries)?;
        let data = copy_template(&workspace, "primary")?;
        let primary = PostgresServer::launch(workspace.clone(), binaries.clone(), data).await?;
        let mut cluster = Self {
            primary,
            replicas: Vec::new(),
            binaries,
            workspace,
        };
        let made = (0..replicas).map(|index| cluster.make_replica(index));
        cluster.replicas = try_join_all(made).await?;
        Ok(cluster)
    }

    /// Adds a replica, and waits until it streams.
    ///
    /// # Errors
    ///
    /// Fails when it does not start.
    pub async fn add_replica(&mut self) -> Result<&mut PostgresServer> {
        let replica = self.make_replica(self.replicas.len()).await?;
        self.replicas.push(replica);
        Ok(self.replicas.last_mut().expect("one has just been added"))
    }

    /// The directory that holds everything and is removed at the end.
    #[must_use]
    pub fn workspace(&self) -> &Arc<Workspace> {
        &self.workspace
    }

    /// How to call `psql`, by its path if it lies beside the server.
    pub(super) fn psql(&self) -> String {
        let beside = self.binaries.program("psql");
        if beside.is_file() {
            beside.display().to_string()
        } else {
            "psql".to_owned()
        }
    }

    /// Waits until every replica has replayed all that is committed now.
    ///
    /// # Errors
    ///
    /// Fails when one has not within a minute.
    pub async fn wait_for_replicas(&self) -> Result<()> {
        let position = self.primary.flushed().await?;
        try_join_all(
            self.replicas
                .iter()
                .map(|replica| replica.wait_for_replay(position)),
        )
        .await?;
        Ok(())
    }

    async fn make_replica(&self, index: usize) -> Result<PostgresServer> {
        let data = copy_template(&self.workspace, &format!("replica-{index}"))?;
        let source = format!(
            "{SETTINGS}primary_conninfo = '{}'\n",
            conninfo(self.primary.port())
        );
        self.workspace
            .write(&data.join("postgresql.conf"), &source)?;
        self.workspace.write(&data.join("standby.signal"), "")?;
        let (workspace, binaries) = (self.workspace.clone(), self.binaries.clone());
        let replica = PostgresServer::launch(workspace, binaries, data).await?;
        replica.wait_until_it_streams().await?;
        Ok(replica)
    }
}

fn make_template(workspace: &Workspace, binaries: &PostgresBinaries) -> Result<()> {
    let template = workspace.path().join(TEMPLATE);
    let options = "--no-sync --auth=trust --encoding=UTF8 --locale=C";
    let options = options
        .split(' ')
        .chain(["--username", USER, "-D", TEMPLATE]);
    workspace.run(&binaries.program("initdb"), options)?;
    workspace.write(&template.join("postgresql.conf"), SETTINGS)
}

fn copy_template(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    workspace.run(Path::new("cp"), ["-a", TEMPLATE, name])?;
    Ok(workspace.path().join(name))
}
