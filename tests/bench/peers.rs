//! The programs for comparison and measurement, installed from Debian if they are missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::report::say;

/// Programs, and the packages that contain them.
const NEEDED: [(&str, &str); 6] = [
    ("nginx", "nginx"),
    ("varnishd", "varnish"),
    ("wrk", "wrk"),
    ("pgbench", "postgresql-contrib"),
    ("valgrind", "valgrind"),
    ("taskset", "util-linux"),
];

/// The same of single measurements, which are skipped where it cannot be had.
const OPTIONAL: [(&str, &str); 1] = [("pgbouncer", "pgbouncer")];

/// Debian runs it before it starts a service; 101 means no.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing. Nothing that is installed is started as a service.
pub(crate) fn install_missing() -> Result<()> {
    install_needed()?;
    for (program, package) in OPTIONAL {
        if is_there(program) {
            continue;
        }
        if let Err(error) = install(&[package]) {
            say(&format!("{package} cannot be installed: {error:#}"));
        }
    }
    Ok(())
}

fn install_needed() -> Result<()> {
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(program, _)| !is_there(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    let wanted = packages.join(" ");
    install(&packages).with_context(|| format!("`make bench` needs {wanted}; install them"))?;
    for (program, package) in missing {
        ensure!(
            is_there(program),
            "{package} was installed and has no {program}"
        );
    }
    Ok(())
}

/// Servers may be installed in directories that only root's `PATH` contains.
pub(crate) fn is_there(program: &str) -> bool {
    let mut which = Command::new("sh");
    which
        .arg("-c")
        .arg(format!("PATH=$PATH:/usr/sbin command -v {program}"));
    which
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn install(packages: &[&str]) -> Result<()> {
    let refused = ServicesRefused::begin();
    run(&["apt-get", "-qq", "update"])?;
    let install = ["apt-get", "-qq", "install", "-y", "--no-install-recommends"];
    let installed = run(&[&install, packages].concat());
    drop(refused);
    installed
}

fn run(command: &[&str]) -> Result<()> {
    let sudo: &[&str] = match nix::unistd::geteuid().is_root() {
        true => &[],
        false => &["sudo", "-n"],
    };
    let command = [sudo, command].concat();
    let mut process = Command::new(command[0]);
    process
        .args(&command[1..])
        .env("DEBIAN_FRONTEND", "noninteractive");
    let output = process.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{}: {}",
            command.join(" "),
            told.trim().lines().last().unwrap_or_default()
        );
    }
    Ok(())
}

/// Keeps packages from starting services while it lives, unless the machine already has its own
/// rule or this user may not create one.
struct ServicesRefused(bool);

impl ServicesRefused {
    fn begin() -> Self {
        if Path::new(SERVICE_POLICY).exists() {
            return Self(false);
        }
        let written = fs::write(SERVICE_POLICY, "#!/bin/sh\nexit 101\n");
        let executable = fs::Permissions::from_mode(0o755);
        Self(
            written
                .and_then(|()| fs::set_permissions(SERVICE_POLICY, executable))
                .is_ok(),
        )
    }
}

impl Drop for ServicesRefused {
    fn drop(&mut self) {
        if self.0 {
            let _left_behind = fs::remove_file(SERVICE_POLICY);
        }
    }
}
