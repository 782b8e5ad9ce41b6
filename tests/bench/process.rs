//! Child processes, pinned to a core if requested, which end with this one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tidegate::testkit::until;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const START_DEADLINE: Duration = Duration::from_secs(30);

/// A command, pinned to a core if one is given. It gets SIGTERM when this process ends, for
/// whatever reason: some servers leave children behind when they are killed.
pub(crate) fn command(program: &str, core: Option<usize>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if let Some(core) = core {
        command.args(["taskset", "-c", &core.to_string()]);
    }
    command.arg(program).stdin(Stdio::null());
    command
}

/// A server and the address it listens at.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    pub(crate) async fn start(mut command: Command, address: SocketAddr) -> Result<Self> {
        command.stdout(Stdio::null());
        let child = command.spawn().context("cannot start a server")?;
        let server = Self::adopt(child, address);
        let accepts = async || Ok(Some(TcpStream::connect(address).await?));
        let what = format!("a server listens at {address}");
        until(&what, START_DEADLINE, accepts).await?;
        Ok(server)
    }

    /// Takes over a server that has been started.
    pub(crate) fn adopt(child: Child, address: SocketAddr) -> Self {
        Self { child, address }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Resident memory in MiB.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        self.memory("VmRSS:")
    }

    /// The most that it has been.
    pub(crate) fn peak_mib(&self) -> Result<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> Result<f64> {
        let pid = self.child.id().context("the server has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.with_context(|| format!("no {name}"))?.parse::<f64>()? / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            let _gone_already = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

/// A port of 127.0.0.1 that is not in use now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// A directory that all users may read, because servers change their user.
pub(crate) fn open_directory() -> Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new()
        .prefix("tidegate-bench-")
        .tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

/// Runs a program to its end and returns what it printed.
pub(crate) async fn output(mut command: Command) -> Result<String> {
    let output = command.output().await.context("cannot run a program")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", told.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// A file in a directory, with its content.
pub(crate) fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> Result<PathBuf> {
    let path = directory.path().join(name);
    fs::write(&path, text)?;
    Ok(path)
}
