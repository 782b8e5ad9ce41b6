//! One connection and one exchange: accept loop, connection limits, drain, and what one client may ask.
//!
//! [`serve()`] runs one listener with HTTP/1.1 and cleartext HTTP/2 on the same port until its
//! [`Drain`] is over. It bounds what a client can take without sending a whole request, and what
//! it can hold without reading the answer. A connection that leaves HTTP stays one of its connections
//! until its tunnel ends. Deliberately absent: TLS (a load balancer ends it), and every limit that
//! needs a request to be understood (bodies, deadlines); those are `middleware/`.

mod after_http;
mod client;
mod generations;
mod host;
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
pub use host::{HostError, host, without_port};
pub use json_object::{BodyError, JsonObject, json_text};
pub use limits::Limits;
pub use listener::Listener;
pub use open_files::raise_open_files;
pub use query::{Query, QueryError};
pub use rate_limits::{LimitedRow, RateLimits, Spent, whole_seconds};
pub use serve::{Drained, serve};
pub use signals::drain_on_signals;
