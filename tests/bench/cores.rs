//! The CPU time of servers, and of those that are loaded meanwhile.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use tokio::time::Instant;

use super::contest::Contender;
use super::load::{Sample, Wrk};
use super::process::Server;

/// A server under `wrk`, and the cores that it takes meanwhile.
pub(crate) fn watched(name: impl Into<String>, wrk: Wrk, server: &Server) -> Contender {
    let pid = server.pid();
    let run = move || {
        let wrk = wrk.clone();
        async move {
            let pid = pid.context("the server has ended")?;
            let (start, before) = (Instant::now(), cpu_seconds(pid)?);
            let sample = wrk.run().await?;
            let taken = cpu_seconds(pid)? - before;
            Ok(Sample {
                cores: Some(taken / start.elapsed().as_secs_f64()),
                ..sample
            })
        }
        .boxed()
    };
    Contender::of(name, run)
}

/// CPU time of a process and its children so far.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let children = children.split_whitespace().map(str::parse);
    let mut seconds = 0.0;
    for pid in std::iter::once(Ok(pid)).chain(children) {
        let pid: u32 = pid?;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            seconds += task_seconds(&task?.path())?;
        }
    }
    Ok(seconds)
}

/// What the scheduler counted for a task, which is finer than clock ticks.
fn task_seconds(task: &Path) -> Result<f64> {
    let text = fs::read_to_string(task.join("schedstat"))?;
    let nanoseconds = text
        .split_whitespace()
        .next()
        .context("schedstat is empty")?;
    Ok(nanoseconds.parse::<f64>()? / 1e9)
}
