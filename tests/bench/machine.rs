//! The machine of a run, and how its cores are divided.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

/// The facts that a reader needs to judge the figures.
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) description: String,
    pub(crate) versions: String,
    pub(crate) commit: String,
}

impl Machine {
    pub(crate) fn look() -> Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let model = field("/proc/cpuinfo", "model name").unwrap_or_default();
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        let kernel = said("uname", &["-sr"]);
        Ok(Self {
            cores,
            description: format!("{cores} cores of {model}, {memory} of memory, {kernel}"),
            versions: [
                said("rustc", &["--version"]),
                said("pgbench", &["--version"]),
                said("nginx", &["-v"]),
                said("varnishd", &["-V"]),
                said("wrk", &["-v"]),
                said("/usr/sbin/pgbouncer", &["--version"]),
            ]
            .join("; "),
            commit: commit()?,
        })
    }

    /// The core for a server whose load comes from the other; `None` if there is only one.
    pub(crate) fn server_core(&self) -> Option<usize> {
        (self.cores > 1).then_some(0)
    }

    /// The core for the load.
    pub(crate) fn load_core(&self) -> Option<usize> {
        (self.cores > 1).then_some(1)
    }
}

fn commit() -> Result<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output();
        let text = output.context("cannot run git")?.stdout;
        anyhow::Ok(String::from_utf8(text)?.trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let changes = if changed.is_empty() {
        ""
    } else {
        " with changes"
    };
    Ok(git(&["rev-parse", "--short", "HEAD"])? + changes)
}

/// The value of the first line of a file that starts with a name.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The first line that a program prints, on either stream.
fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return format!("no {program}");
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().next().unwrap_or_default().trim().to_owned()
}
