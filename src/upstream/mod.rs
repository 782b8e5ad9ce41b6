//! Upstream endpoints: requests forwarded to an application over HTTP/1.1, and its answers.
//!
//! An [`Upstream`] has nodes, one of which serves a request: the selector's first, or another if
//! that fails. Bodies are streamed both ways and never held as a whole. Deliberately absent: what
//! the headers say (`middleware/forward`), HTTP/2 to applications, and balancing load among nodes
//! of one region, which a load balancer's address does better.

mod error;
mod hop_by_hop;
mod node;
mod last_heard;
mod balance;
mod upload;
mod download;
mod framing;
mod connector;
mod attempt;
mod race;
mod exchange;
mod tunnel;
mod check;
mod tasks;
mod application;
mod upstreams;

pub use application::Upstream;
pub use error::{AttemptError, SetupError, UpstreamError};
pub use exchange::{Answered, Outgoing, Patience, Turn};
pub use hop_by_hop::{names_upgrade, strip_hop_by_hop};
pub use node::Node;
pub use tunnel::tunnel;
pub use upstreams::Upstreams;
