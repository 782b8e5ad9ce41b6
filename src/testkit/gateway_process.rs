//! The real binary as a child process, on free ports, with access to its log.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::process_tree::signal;
use super::wait::until;
use super::workspace::{Registration, Workspace};
use tidegate_model::Environment;

/// A start takes milliseconds; this is for a machine that compiles at the same time, under valgrind.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// Above the drain delay and the cap on requests in flight.
const EXIT_DEADLINE: Duration = Duration::from_secs(45);
/// The number of newest log lines that are kept; a test produces far fewer.
const LOG_LINES_MAX: usize = 20_000;

/// A command line and an environment for the binary; only `PATH` is inherited unasked.
#[derive(Debug)]
pub struct GatewayCommand(Command);

/// A running `tidegate serve`; dropping it kills it.
pub struct GatewayProcess {
    child: Child,
    listen: SocketAddr,
    admin: SocketAddr,
    log: Log,
    _registration: Option<Registration>,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl GatewayCommand {
    /// Runs a subcommand of the binary, such as `serve`.
    #[must_use]
    pub fn new(binary: impl AsRef<OsStr>, subcommand: &str) -> Self {
        let mut command = Command::new(binary);
        command
            .arg(subcommand)
            .env_clear()
            .kill_on_drop(true)
            .stdin(Stdio::null());
        command.envs(
            Environment::of_process()
                .get("PATH")
                .map(|path| ("PATH", path)),
        );
        command
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("ADMIN_ADDR", "127.0.0.1:0");
        Self(command)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.env(name, value.into());
        self
    }

    /// Passes on the variables of this process whose names begin so.
    #[must_use]
    pub(super) fn inherit(mut self, prefix: &str) -> Self {
        let environment = Environment::of_process();
        self.0.envs(environment.starting_with(prefix));
        self
    }

    /// Gives it a file as standard input.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened.
    pub fn input(mut self, file: &Path) -> Result<Self> {
        self.0.stdin(std::fs::File::open(file)?);
        Ok(self)
    }

    /// Sets its working directory.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        self.0.current_dir(directory);
        self
    }

    /// Shields it from Ctrl-C on the terminal.
    #[must_use]
    pub(super) fn out_of_reach_of_ctrl_c(mut self) -> Self {
        self.0.process_group(0);
        self
    }

    /// Runs it to its end and returns its status and output.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be run or does not end within 45 seconds.
    pub async fn output(self) -> Result<Output> {
        self.output_within(EXIT_DEADLINE).await
    }

    /// The same of a command that may take longer.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be run or does not end in that time.
    pub async fn output_within(mut self, deadline: Duration) -> Result<Output> {
        let output = timeout(deadline, self.0.output()).await;
        output
            .context("the process did not end")?
            .context("cannot run the binary")
    }

    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    ///
    /// Fails with its log if it ends instead, or does not listen in time.
    pub async fn start(mut self) -> Result<GatewayProcess> {
        self.0
            .env("LOG_FORMAT", "json")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = self.0.spawn().context("cannot run the binary")?;
        let log = Log::default();
        let stderr = child.stderr.take().context("standard error is piped")?;
        tokio::spawn(log.clone().follow(stderr));
        let started = until("the gateway listens", START_DEADLINE, async || {
            let ended = child
                .try_wait()?
                .map(|status| Err(anyhow!("it ended: {status}")));
            Ok(log.addresses().map(Ok).or(ended))
        });
        let (listen, admin) = started.await.flatten().with_context(|| log.text())?;
        Ok(GatewayProcess {
            child,
            listen,
            admin,
            log,
            _registration: None,
        })
    }

    /// Starts a server that ends with the workspace, even if this process is killed.
    ///
    /// # Errors
    ///
    /// See [`start`](Self::start).
    pub async fn start_in(self, workspace: &Workspace) -> Result<GatewayProcess> {
        let mut gateway = self.start().await?;
        gateway._registration = match gateway.child.id() {
            Some(pid) => Some(workspace.register(pid, Signal::SIGKILL)?),
            None => None,
        };
        Ok(gateway)
    }
}

impl GatewayProcess {
    /// The public listener.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The admin listener.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A URL of the public listener.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    /// A URL of the admin listener.
    #[must_use]
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until a line of its log contains a text, and returns that line.
    ///
    /// # Errors
    ///
    /// Fails if none does in time.
    pub async fn wait_for_log(&self, text: &str) -> Result<String> {
        let what = format!("the gateway logs {text:?}");
        until(&what, START_DEADLINE, async || {
            Ok(self.log.find(|line| line.contains(text)))
        })
        .await
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, with: Signal) {
        if let Some(pid) = self.child.id() {
            signal(pid, with);
        }
    }

    /// Its status, if it has ended.
    ///
    /// # Errors
    ///
    /// Fails if the system does not report it.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            // Its number may become that of another process.
            self._registration = None;
        }
        Ok(status)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// Fails if it does not within 45 seconds.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        let ended = timeout(EXIT_DEADLINE, self.child.wait()).await;
        Ok(ended.context("the gateway did not end")??)
    }
}

impl Drop for GatewayProcess {
    /// A test that fails shows what its gateways logged.
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the output of a failed test")]
            {
                eprintln!(
                    "log of the gateway at {}:\n{}",
                    self.listen,
                    self.log.text()
                );
            }
        }
    }
}

impl Log {
    async fn follow(self, stderr: ChildStderr) {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LOG_LINES_MAX {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    }

    fn find(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|line| wanted(line)).cloned()
    }

    fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().flat_map(|line| [line, "\n"]).collect()
    }

    /// The two listeners, once the line with their addresses is in the log.
    fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        addresses(&self.find(|line| addresses(line).is_some())?)
    }
}

fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    let address = |name| fields.get(name)?.as_str()?.parse().ok();
    (fields.get("message")? == "listening").then_some((address("listen")?, address("admin")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_read_from_the_listening_line_alone() {
        let line = r#"{"message":"listening","listen":"127.0.0.1:1","admin":"127.0.0.1:2"}"#;
        let expected = (
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.1:2".parse().unwrap(),
        );
        assert_eq!(addresses(line), Some(expected));
        assert_eq!(
            addresses(&format!(r#"{{"fields":{line}}}"#)),
            Some(expected)
        );
        assert_eq!(addresses(&line.replace("listening", "draining")), None);
        assert_eq!(addresses("listening"), None);
    }
}
