//! A primary and its streaming replicas, started in about two seconds and removed with the process.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use futures_util::future::try_join_all;

use super::postgres_binaries::PostgresBinaries;
use super::postgres_server::conninfo;
use super::postgres_server::{PostgresServer, Variables};
use super::template::create_cluster;
use super::workspace::Workspace;

/// Durability is sacrificed for speed, visibility is not: with `synchronous_commit = off` a commit
/// would reach the replicas 200 ms late. The primary keeps enough WAL for a replica that is
/// disconnected during a whole test.
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

/// The data directory of the primary, in the workspace.
const PRIMARY: &str = "primary";

/// One primary and any number of replicas on 127.0.0.1.
pub struct Cluster {
    /// The server that takes writes, until a replica is promoted.
    pub primary: PostgresServer,
    /// The servers that stream from it.
    pub replicas: Vec<PostgresServer>,
    binaries: PostgresBinaries,
    workspace: Arc<Workspace>,
    variables: Box<dyn Fn(&str) -> Variables + Send + Sync>,
    /// The number of replicas so far, because their names are not reused.
    replicas_made: usize,
}

impl Cluster {
    /// Creates and starts the servers, and waits until every replica streams.
    ///
    /// # Errors
    ///
    /// Fails if PostgreSQL is neither found nor installed, or a server does not start.
    pub async fn start(replicas: usize) -> Result<Self> {
        Self::start_with(replicas, |_| Vec::new()).await
    }

    /// Like [`start`](Self::start), with variables for each server by its name: `primary`,
    /// `replica-0` and so on.
    ///
    /// # Errors
    /// See [`start`](Self::start).
    pub async fn start_with(
        replicas: usize,
        variables: impl Fn(&str) -> Variables + Send + Sync + 'static,
    ) -> Result<Self> {
        let binaries = PostgresBinaries::find_or_install()?;
        let workspace = Arc::new(Workspace::create()?);
        create_cluster(&workspace, &binaries, PRIMARY)?;
        let data = workspace.path().join(PRIMARY);
        workspace.write(&data.join("postgresql.conf"), SETTINGS)?;
        let names: Vec<_> = (0..replicas).map(replica_name).collect();
        for name in &names {
            // A copy of a primary that has never run is equivalent to a base backup, and faster.
            workspace.run(Path::new("cp"), ["-a", PRIMARY, name])?;
        }
        let primary = PostgresServer::launch(
            workspace.clone(),
            binaries.clone(),
            data,
            variables(PRIMARY),
        )
        .await?;
        let mut cluster = Self {
            primary,
            replicas: Vec::new(),
            binaries,
            workspace,
            variables: Box::new(variables),
            replicas_made: replicas,
        };
        let started = names.iter().map(|name| cluster.start_replica(name));
        cluster.replicas = try_join_all(started).await?;
        Ok(cluster)
    }

    /// Adds a replica from a base backup of the running primary, and waits until it streams.
    ///
    /// # Errors
    ///
    /// Fails without `pg_basebackup`, or if the replica does not start.
    pub async fn add_replica(&mut self) -> Result<&mut PostgresServer> {
        let replica = self.make_replica().await?;
        self.replicas.push(replica);
        Ok(self.replicas.last_mut().expect("one has just been added"))
    }

    /// Replaces a replica with a new one from a base backup of the running primary.
    ///
    /// # Errors
    ///
    /// See [`add_replica`](Self::add_replica).
    pub async fn replace_replica(&mut self, index: usize) -> Result<()> {
        self.replicas[index] = self.make_replica().await?;
        Ok(())
    }

    /// Promotes a replica, which exchanges its place with the former primary.
    ///
    /// # Errors
    ///
    /// Fails if it is not promoted.
    pub async fn promote_replica(&mut self, index: usize) -> Result<()> {
        self.replicas[index].promote().await?;
        std::mem::swap(&mut self.primary, &mut self.replicas[index]);
        Ok(())
    }

    /// The directory that contains everything and is removed at the end.
    #[must_use]
    pub fn workspace(&self) -> &Arc<Workspace> {
        &self.workspace
    }

    /// The command for `psql`, by its path if it is installed next to the server.
    pub(super) fn psql(&self) -> String {
        let beside = self.binaries.program("psql");
        if beside.is_file() {
            beside.display().to_string()
        } else {
            "psql".to_owned()
        }
    }

    /// Waits until every replica has replayed everything that is committed now.
    ///
    /// # Errors
    ///
    /// Fails if one has not within a minute.
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

    async fn make_replica(&mut self) -> Result<PostgresServer> {
        let name = replica_name(self.replicas_made);
        self.replicas_made += 1;
        let source = conninfo(self.primary.port());
        let options = ["--no-sync", "--checkpoint=fast", "-D", &name, "-d", &source];
        self.workspace
            .run(&self.binaries.program("pg_basebackup"), options)?;
        self.start_replica(&name).await
    }

    async fn start_replica(&self, name: &str) -> Result<PostgresServer> {
        let source = conninfo(self.primary.port());
        let settings = format!("{SETTINGS}primary_conninfo = '{source}'\n");
        let workspace = self.workspace.clone();
        let data = workspace.path().join(name);
        workspace.write(&data.join("postgresql.conf"), &settings)?;
        workspace.write(&data.join("standby.signal"), "")?;
        let variables = (self.variables)(name);
        let replica = PostgresServer::launch(workspace, self.binaries.clone(), data, variables);
        let replica = replica.await?;
        replica.wait_until_it_streams().await?;
        Ok(replica)
    }
}

fn replica_name(index: usize) -> String {
    format!("replica-{index}")
}
