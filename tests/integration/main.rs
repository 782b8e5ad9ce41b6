//! Tests through the real binary, against a real primary and real replicas.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod arrows;
mod cluster;
mod demo;
mod connection;
mod faults;
mod health;
mod infra;
mod levels;
mod monitor;
mod session_cookie;
mod timelines;
mod tls;
mod token_command;
#[allow(dead_code, reason = "a kit: not every test needs every part")]
mod world;
