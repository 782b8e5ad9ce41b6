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
/// would reach the replicas 200 ms late. The primary keeps enough WAL for a replica that was cut off
/// through a whole test.
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

/// WAL segments of 1 MB rather than 16, since each server starts with a copy of one.
const INITDB: &str = "--no-sync --auth=trust --encoding=UTF8 --locale=C --wal-segsize=1";

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
        let data = initialise(&workspace, &binaries)?;
        let cold = (0..replicas).map(|index| copy_cold_primary(&workspace, &replica_name(index)));
        let cold = cold.collect::<Result<Vec<PathBuf>>>()?;
        let primary = PostgresServer::launch(workspace.clone(), binaries.clone(), data).await?;
        let mut cluster = Self {
            primary,
            replicas: Vec::new(),
            binaries,
            workspace,
        };
        let started = cold.into_iter().map(|data| cluster.start_replica(data));
        cluster.replicas = try_join_all(started).await?;
        Ok(cluster)
    }

    /// Adds a replica from a base backup of the running primary, and waits until it streams.
    ///
    /// # Errors
    ///
    /// Fails without `pg_basebackup`, or when the replica does not start.
    pub async fn add_replica(&mut self) -> Result<&mut PostgresServer> {
        let name = replica_name(self.replicas.len());
        let source = conninfo(self.primary.port());
        let options = ["--no-sync", "--checkpoint=fast", "-D", &name, "-d", &source];
        self.workspace
            .run(&self.binaries.program("pg_basebackup"), options)?;
        let replica = self.start_replica(self.workspace.path().join(name)).await?;
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

    async fn start_replica(&self, data: PathBuf) -> Result<PostgresServer> {
        let source = conninfo(self.primary.port());
        let settings = format!("{SETTINGS}primary_conninfo = '{source}'\n");
        let workspace = self.workspace.clone();
        workspace.write(&data.join("postgresql.conf"), &settings)?;
        workspace.write(&data.join("standby.signal"), "")?;
        let replica = PostgresServer::launch(workspace, self.binaries.clone(), data).await?;
        replica.wait_until_it_streams().await?;
        Ok(replica)
    }
}

fn replica_name(index: usize) -> String {
    format!("replica-{index}")
}

fn initialise(workspace: &Workspace, binaries: &PostgresBinaries) -> Result<PathBuf> {
    let options = INITDB.split(' ').chain(["--username", USER, "-D", PRIMARY]);
    workspace.run(&binaries.program("initdb"), options)?;
    let data = workspace.path().join(PRIMARY);
    workspace.write(&data.join("postgresql.conf"), SETTINGS)?;
    Ok(data)
}

/// A copy of a primary that has never run is a replica as good as a base backup, and quicker.
fn copy_cold_primary(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    workspace.run(Path::new("cp"), ["-a", PRIMARY, name])?;
    Ok(workspace.path().join(name))
}
