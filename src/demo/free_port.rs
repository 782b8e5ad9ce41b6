//! Ports for servers that must be told theirs.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// Below the ports that kernels give to outgoing connections, so that a server which restarts finds
/// its port free.
const FIRST: u16 = 20_000;
const COUNT: u64 = 12_000;
/// More than enough unless most of the range is taken.
const ATTEMPTS: usize = 100;

/// A port of 127.0.0.1 at which nobody listens now.
pub(super) fn free_port() -> Result<u16> {
    let random = || u16::try_from(RandomState::new().hash_one(0) % COUNT).unwrap_or_default();
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut candidates = (0..ATTEMPTS).map(|_| FIRST + random());
    candidates
        .find(is_free)
        .context("no free port on 127.0.0.1")
}
