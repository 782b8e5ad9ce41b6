//! One PostgreSQL server that can be stopped, killed, frozen and disconnected.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::Signal;

use super::free_port::free_port;
use super::postgres_binaries::PostgresBinaries;
use super::process_tree::{children, signal};
use super::wait::until;
use super::workspace::{Registration, Workspace};

/// The superuser that `initdb` creates.
pub(super) const USER: &str = "tidegate";
/// It is never checked; it exists so that a URL contains a password to mask.
pub(super) const PASSWORD: &str = "keep-me-out-of-logs";

/// Starting takes a third of a second; this is for a machine that compiles at the same time.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// PostgreSQL itself gives its processes five seconds before it kills them.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// A free port may be taken by another test before PostgreSQL binds it.
const PORT_ATTEMPTS: usize = 5;
/// What PostgreSQL writes where the processes of a former server are not all gone yet.
const MEMORY_IN_USE: &str = "pre-existing shared memory block";

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Ends all sessions and writes a checkpoint; a primary waits until its replicas have received
    /// everything.
    Fast,
    /// Ends at once, as a crash would; the next start recovers.
    Immediate,
}

/// One server in its own data directory, on a port of 127.0.0.1 that it keeps.
pub struct PostgresServer {
    workspace: Arc<Workspace>,
    binaries: PostgresBinaries,
    data: PathBuf,
    variables: Variables,
    port: u16,
    postmaster: Option<Postmaster>,
    frozen: Vec<Frozen>,
}

/// Variables of a server's environment.
pub type Variables = Vec<(&'static str, OsString)>;

struct Postmaster {
    child: Child,
    _registration: Registration,
}

/// A process stopped by SIGSTOP. A postmaster is already registered, to be ended rather than woken.
struct Frozen {
    pid: u32,
    _registration: Option<Registration>,
}

impl PostgresServer {
    /// Takes a prepared data directory, finds a port for it and starts it.
    pub(super) async fn launch(
        workspace: Arc<Workspace>,
        binaries: PostgresBinaries,
        data: PathBuf,
        variables: Variables,
    ) -> Result<Self> {
        let mut server = Self {
            workspace,
            binaries,
            data,
            variables,
            port: 0,
            postmaster: None,
            frozen: Vec::new(),
        };
        for _ in 0..PORT_ATTEMPTS {
            server.port = free_port()?;
            match server.start().await {
                Err(_) if server.log().contains("could not bind") => server.postmaster = None,
                outcome => return outcome.map(|()| server),
            }
        }
        bail!("no free port after {PORT_ATTEMPTS} attempts")
    }

    /// The name of its data directory.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = self.data.file_name().and_then(OsStr::to_str);
        name.unwrap_or_default()
    }

    /// The port, which stays the same after every restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The URL of its superuser, with a password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// The same URL by another address, such as a proxy's.
    #[must_use]
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("postgres://{USER}:{PASSWORD}@{address}/postgres")
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Adds a line to its settings file, which takes effect at a reload or restart.
    pub(super) fn configure(&self, line: &str) -> Result<()> {
        let path = self.data.join("postgresql.conf");
        let mut file = File::options().append(true).open(path)?;
        Ok(writeln!(file, "{line}")?)
    }

    fn log_path(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    ///
    /// Fails with the end of its log if it ends instead, or does not answer in time.
    pub async fn start(&mut self) -> Result<()> {
        ensure!(self.postmaster.is_none(), "the server is running");
        self.postmaster = Some(self.spawn()?);
        let started = self.wait_until_it_answers().await;
        started.with_context(|| format!("PostgreSQL did not start: {}", last_lines(&self.log())))
    }

    /// Starts it as a replica of another server, and waits until it streams. Its history must be a
    /// prefix of that server's: this holds for a primary that was stopped fast before its replica
    /// was promoted.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start), or if it does not stream within a minute.
    pub async fn start_as_replica_of(&mut self, source: &Self) -> Result<()> {
        let settings = self.data.join("postgresql.conf");
        let text = fs::read_to_string(&settings)?;
        let source = conninfo(source.port());
        let text = format!("{text}primary_conninfo = '{source}'\n");
        self.workspace.write(&settings, &text)?;
        self.workspace
            .write(&self.data.join("standby.signal"), "")?;
        self.start().await?;
        self.wait_until_it_streams().await
    }

    fn spawn(&self) -> Result<Postmaster> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = self.workspace.command(self.binaries.program("postgres"));
        command
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port.to_string()]);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot run postgres")?;
        let registration = self.workspace.register(child.id(), Signal::SIGQUIT)?;
        Ok(Postmaster {
            child,
            _registration: registration,
        })
    }

    async fn wait_until_it_answers(&mut self) -> Result<()> {
        until("PostgreSQL answers", START_DEADLINE, async || {
            if let Some(status) = self.ended()? {
                // The children of a server that was killed hold its memory for a moment.
                if !last_lines(&self.log()).contains(MEMORY_IN_USE) {
                    return Ok(Some(Err(anyhow!("it ended: {status}"))));
                }
                self.postmaster = Some(self.spawn()?);
            }
            self.value("select 1").await?;
            Ok(Some(Ok(())))
        })
        .await?
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.postmaster {
            Some(postmaster) => Ok(postmaster.child.try_wait()?),
            None => bail!("the server is not running"),
        }
    }

    /// Stops it and waits until it is gone.
    ///
    /// # Errors
    ///
    /// Fails if it is not running or does not end in time.
    pub async fn stop(&mut self, how: Shutdown) -> Result<()> {
        self.end(match how {
            Shutdown::Fast => Signal::SIGINT,
            Shutdown::Immediate => Signal::SIGQUIT,
        })
        .await
    }

    /// Stops it fast and starts it again, on the same port.
    ///
    /// # Errors
    ///
    /// See [`stop`](Self::stop) and [`start`](Self::start).
    pub async fn restart(&mut self) -> Result<()> {
        self.stop(Shutdown::Fast).await?;
        self.start().await
    }

    /// Kills all its processes with SIGKILL.
    ///
    /// # Errors
    ///
    /// Fails if it is not running.
    pub async fn kill(&mut self) -> Result<()> {
        for pid in self.processes()? {
            signal(pid, Signal::SIGKILL);
        }
        self.end(Signal::SIGKILL).await
    }

    async fn end(&mut self, with: Signal) -> Result<()> {
        let postmaster = self
            .postmaster
            .as_ref()
            .context("the server is not running")?;
        signal(postmaster.child.id(), with);
        self.thaw();
        until("PostgreSQL ends", STOP_DEADLINE, async || self.ended()).await?;
        self.postmaster = None;
        Ok(())
    }

    /// Stops all its processes with SIGSTOP: connections stay open and nothing answers.
    ///
    /// # Errors
    ///
    /// Fails if it is not running.
    pub fn freeze(&mut self) -> Result<()> {
        // The postmaster comes first, so it starts no new process meanwhile.
        for pid in self.processes()? {
            self.freeze_process(pid)?;
        }
        Ok(())
    }

    /// Stops only the WAL receiver: the replica answers, but receives nothing new.
    ///
    /// # Errors
    ///
    /// Fails if there is no WAL receiver.
    pub async fn freeze_receiver(&mut self) -> Result<()> {
        let pid = self.value("select pid from pg_stat_wal_receiver").await?;
        self.freeze_process(pid.context("there is no WAL receiver")?.parse()?)
    }

    /// Resumes everything that [`freeze`](Self::freeze) or
    /// [`freeze_receiver`](Self::freeze_receiver) stopped.
    pub fn thaw(&mut self) {
        for frozen in self.frozen.drain(..) {
            signal(frozen.pid, Signal::SIGCONT);
        }
    }

    fn freeze_process(&mut self, pid: u32) -> Result<()> {
        let is_postmaster = self
            .postmaster
            .as_ref()
            .is_some_and(|it| it.child.id() == pid);
        let registration = match is_postmaster {
            true => None,
            false => Some(self.workspace.register(pid, Signal::SIGCONT)?),
        };
        self.frozen.push(Frozen {
            pid,
            _registration: registration,
        });
        signal(pid, Signal::SIGSTOP);
        Ok(())
    }

    fn processes(&self) -> Result<Vec<u32>> {
        let postmaster = self
            .postmaster
            .as_ref()
            .context("the server is not running")?
            .child
            .id();
        Ok([vec![postmaster], children(postmaster)?].concat())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.thaw();
        if let Some(mut postmaster) = self.postmaster.take() {
            signal(postmaster.child.id(), Signal::SIGQUIT);
            let _ = postmaster.child.wait();
        }
    }
}

/// Enough of a log to see why a server ended.
fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

/// A replica's settings for the server that it streams from.
pub(super) fn conninfo(port: u16) -> String {
    format!("host=127.0.0.1 port={port} user={USER} password={PASSWORD}")
}
