//! Lower bounds, in a separate process: with axum, a handler that returns the same bytes; without
//! any library, a loop that receives something and sends the same answer.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::process::{Server, command, free_address};

/// The role of this program other than measuring. Its first argument is the name of the role, the
/// second the address, the third the body or the whole answer.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    Axum,
    Socket,
    Bucket,
}

impl Role {
    const ALL: [Self; 3] = [Self::Axum, Self::Socket, Self::Bucket];

    fn name(self) -> &'static str {
        match self {
            Self::Axum => "bare-axum",
            Self::Socket => "bare-socket",
            Self::Bucket => "bare-bucket",
        }
    }

    pub(crate) fn of(argument: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == argument)
    }
}

/// Starts this program in a role.
pub(crate) async fn start(role: Role, core: Option<usize>, bytes: &str) -> Result<Server> {
    let program = std::env::current_exe()?;
    let program = program
        .to_str()
        .context("the path of this program is not UTF-8")?;
    let address = free_address()?;
    let mut command = command(program, core);
    command.arg(role.name()).arg(address.to_string()).arg(bytes);
    Server::start(command, address).await
}

/// Serves until it is killed.
pub(crate) async fn serve(role: Role, mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let address: SocketAddr = arguments.next().context("no address")?.parse()?;
    let bytes = Bytes::from(arguments.next().context("no bytes")?);
    let listener = TcpListener::bind(address).await?;
    match role {
        Role::Axum => {
            let headers = [
                (CONTENT_TYPE, "application/json"),
                (CACHE_CONTROL, "public, max-age=3600"),
            ];
            let handler = get(async move || (headers, bytes.clone()));
            let router = Router::new().route("/cached/{id}", handler);
            Ok(axum::serve(listener, router).await?)
        }
        Role::Bucket => super::bucket::serve(listener).await,
        Role::Socket => loop {
            let (socket, _) = listener.accept().await?;
            tokio::spawn(answer(socket, bytes.clone()));
        },
    }
}

/// Any received bytes are treated as one request.
async fn answer(mut socket: TcpStream, answer: Bytes) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut request = [0; 8 * 1024];
    while socket.read(&mut request).await? > 0 {
        socket.write_all(&answer).await?;
    }
    Ok(())
}
