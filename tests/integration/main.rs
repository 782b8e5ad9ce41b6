//! Tests through the real binary, against a real primary and real replicas.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod access_lines;
mod admin;
mod api;
mod arrows;
mod auth;
mod bounds;
mod cache;
mod cluster;
mod compression;
mod conditional;
mod configuration;
mod connection;
mod connection_limit;
#[path = "../consistency/mod.rs"]
mod consistency;
mod demo;
mod dependencies;
mod docs;
#[path = "../drills/mod.rs"]
mod drills;
mod faults;
mod fleet;
mod handing_on;
mod health;
mod host;
mod infra;
mod init;
mod input;
mod instructions;
mod ledger;
mod levels;
mod listener;
mod lifecycle;
mod mistakes;
mod monitor;
mod observability;
mod overload;
mod pages;
mod pool;
mod promotion;
mod rate_limit;
mod rollouts;
mod round_trips;
mod row_security;
mod cross_origin;
mod dashboard;
mod session_cookie;
mod schema_change;
mod schemas;
mod session_state;
mod sharing;
mod steering;
mod storage;
mod timelines;
mod tls;
mod token_command;
mod traces;
mod traffic;
mod upstream;
mod values;
#[allow(dead_code, reason = "a kit: not every test needs every part")]
mod world;
