//! A temporary directory that is removed with this process, as are the processes started in it.
//!
//! A watchdog, a shell in its own process group, reads a pipe whose other end only this process
//! holds. However this process ends, including `kill -9`, the pipe closes; the watchdog then ends
//! every registered process and removes the directory.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};

/// Ends each registered process with the signal named in its file, then removes the directory.
///
/// A stopped process handles no signal before SIGCONT. After five seconds (50 rounds) SIGKILL is
/// sent. A postmaster killed that way leaves its shared memory segment behind, named in
/// `postmaster.pid`.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r _
cd "$1/processes" || exit
for pid in *; do
    read -r signal < "$pid" && kill -s "$signal" "$pid" && kill -s CONT "$pid"
done
round=0
while [ "$round" -lt 50 ]; do
    alive=
    for pid in *; do kill -0 "$pid" && alive=yes; done
    [ "$alive" ] || break
    round=$((round + 1))
    sleep 0.1
done
for pid in *; do kill -s KILL "$pid"; done
for pidfile in ../*/postmaster.pid; do
    segment=$(sed -n '7s/.* //p' "$pidfile") && [ "$segment" ] && ipcrm -m "$segment"
done
cd /
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// A temporary directory with a watchdog.
pub struct Workspace {
    root: PathBuf,
    owner: Option<Owner>,
    watchdog: Child,
}

/// The user that runs PostgreSQL, which refuses to run as root.
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Workspace {
    /// Creates the directory and starts its watchdog.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be created or, as root, if no unprivileged user exists.
    pub fn create() -> Result<Self> {
        let owner = Owner::instead_of_root()?;
        let root = new_directory()?;
        let made = (|| {
            hand_over(&root, owner)?;
            fs::create_dir(root.join("processes"))?;
            start_watchdog(&root)
        })();
        let watchdog = made.inspect_err(|_| drop(fs::remove_dir_all(&root)));
        Ok(Self {
            watchdog: watchdog?,
            root,
            owner,
        })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A command that runs in the directory, as the unprivileged user, unaffected by Ctrl-C.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .process_group(0)
            .stdin(Stdio::null());
        if let Some(owner) = self.owner {
            // Rust also drops the supplementary groups when root sets a user.
            command.uid(owner.uid).gid(owner.gid);
        }
        command
    }

    /// Runs a program in the directory, to its end.
    pub(super) fn run<'a>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Result<()> {
        let mut command = self.command(program);
        let output = command.args(arguments).output();
        let output = output.with_context(|| format!("cannot run {command:?}"))?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            bail!("{command:?}: {}: {}", output.status, told.trim());
        }
        Ok(())
    }

    /// Writes a file that the unprivileged user owns.
    pub(super) fn write(&self, path: &Path, text: &str) -> Result<()> {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        hand_over(path, self.owner)
    }

    /// Ensures that a process gets `signal` if this process dies before the registration.
    pub(super) fn register(&self, pid: u32, signal: Signal) -> Result<Registration> {
        let file = self.root.join("processes").join(pid.to_string());
        let name = signal.as_str().trim_start_matches("SIG");
        fs::write(&file, format!("{name}\n")).context("cannot register a process")?;
        Ok(Registration { file })
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// A process registered with the watchdog; dropped when the process has been waited for.
pub(super) struct Registration {
    file: PathBuf,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

impl Owner {
    fn instead_of_root() -> Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let user = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok()?);
        let user = user.context("PostgreSQL refuses to run as root and there is no user nobody")?;
        Ok(Some(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        }))
    }
}

/// Fails if the name exists, so that no other user can have placed a link there.
fn new_directory() -> Result<PathBuf> {
    let mut name = format!("tidegate-{}-", std::process::id());
    write!(name, "{:08x}", RandomState::new().hash_one(0) >> 32)?;
    let root = std::env::temp_dir().join(name);
    fs::create_dir(&root).with_context(|| format!("cannot make {}", root.display()))?;
    fs::set_permissions(&root, Permissions::from_mode(0o700))?;
    Ok(root)
}

fn hand_over(path: &Path, owner: Option<Owner>) -> Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    let failed = || format!("cannot change the owner of {}", path.display());
    chown(path, Some(owner.uid), Some(owner.gid)).with_context(failed)
}

/// The pipe is close-on-exec, like every descriptor that Rust opens: no child can hold it open.
fn start_watchdog(root: &Path) -> Result<Child> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", WATCHDOG, "tidegate-watchdog"]).arg(root);
    shell.current_dir("/").process_group(0);
    shell
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    shell.spawn().context("cannot start /bin/sh")
}
