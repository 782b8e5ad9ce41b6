//! Signals, and the children of a process.
//!
//! PostgreSQL puts each of its processes in its own process group, so a signal to a group would
//! only reach the postmaster.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Sends a signal; a process that is already gone is not an error.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        // The only other failure is a missing permission, and these are our own children.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// The direct children of a process.
pub(super) fn children(parent: u32) -> Result<Vec<u32>> {
    let pairs = if fs::exists("/proc/self/stat")? {
        from_proc()?
    } else {
        from_ps()?
    };
    Ok(pairs
        .into_iter()
        .filter(|(_, of)| *of == parent)
        .map(|(pid, _)| pid)
        .collect())
}

fn from_proc() -> Result<Vec<(u32, u32)>> {
    let entries = fs::read_dir("/proc").context("cannot list /proc")?;
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids
        .filter_map(|pid| Some((pid, parent_in_proc(pid)?)))
        .collect())
}

/// The second field, a name in parentheses, may itself contain spaces and parentheses.
fn parent_in_proc(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

fn from_ps() -> Result<Vec<(u32, u32)>> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let output = output.context("cannot run ps")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let pair = |line: &str| {
        let mut fields = line.split_whitespace();
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Ok(text.lines().filter_map(pair).collect())
}
