//! Ports for servers that cannot choose their own.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Context, Result};

/// Below the ports that kernels use for outgoing connections, so that a server finds its port free
/// when it restarts.
const PORTS: Range<u16> = 20_000..32_000;
/// More than enough unless most of the range is taken.
const ATTEMPTS: usize = 100;

/// Returns a port of 127.0.0.1 that is not in use now.
///
/// # Errors
/// If there is none.
pub fn free_port() -> Result<u16> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut candidates = (0..ATTEMPTS).map(|_| fastrand::u16(PORTS));
    candidates
        .find(is_free)
        .context("no free port on 127.0.0.1")
}
