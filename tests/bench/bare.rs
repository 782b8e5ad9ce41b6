//! The least that axum can do: a handler that returns the same bytes, in a process of its own.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::net::TcpListener;

use super::process::{Server, command, free_address};

/// The first argument of this program in this role; the second is the address, the third the body.
pub(crate) const ROLE: &str = "bare-axum";

/// Starts this program in the role.
pub(crate) async fn start(core: Option<usize>, body: &str) -> Result<Server> {
    let program = std::env::current_exe()?;
    let program = program
        .to_str()
        .context("the path of this program is not UTF-8")?;
    let address = free_address()?;
    let mut command = command(program, core);
    command.arg(ROLE).arg(address.to_string()).arg(body);
    Server::start(command, address).await
}

/// Serves until it is killed.
pub(crate) async fn serve(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let address: SocketAddr = arguments.next().context("no address")?.parse()?;
    let body = Bytes::from(arguments.next().context("no body")?);
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "public, max-age=3600"),
    ];
    let handler = get(async move || (headers, body.clone()));
    let router = Router::new().route("/cached/{id}", handler);
    let listener = TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router).await?)
}
