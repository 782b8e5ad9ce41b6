//! One connection and one exchange: accept loop, connection limits, drain, and rate limits.
//!
//! [`serve()`] runs one listener with HTTP/1.1 and cleartext HTTP/2 on the same port until its
//! [`Drain`] is over. It bounds what a client can occupy without sending a whole request, and what
//! it can hold without reading the answer. A connection that leaves HTTP still counts until its
//! tunnel ends. Deliberately absent: TLS (a load balancer terminates it), and every limit that
//! requires a parsed request (bodies, deadlines); those are in `middleware/`.

mod after_http;
mod client;
mod generations;
mod limits;
mod json_object;
mod query;
mod rate_limits;
mod open_files;
mod drain;
mod signals;
mod listener;
mod activity;
mod watched;
mod tracked;
mod stream_task;
mod connection;
mod serve;
#[cfg(test)]
mod tests;

pub use after_http::AfterHttp;
pub use client::{Client, client_address};
pub use drain::Drain;
pub use json_object::{BodyError, JsonObject, json_text};
pub use limits::Limits;
pub use listener::Listener;
pub use open_files::raise_open_files;
pub use query::{Query, QueryError};
pub use rate_limits::{LimitedRow, RateLimits, Spent, whole_seconds};
pub use serve::{Drained, serve};
pub use signals::drain_on_signals;
