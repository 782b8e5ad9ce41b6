//! Servers whose CPU time is watched while they are loaded.

use anyhow::Context;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::contest::Contender;
use super::load::{Sample, Wrk};
use super::process::Server;
use super::tls::cpu_seconds;

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
