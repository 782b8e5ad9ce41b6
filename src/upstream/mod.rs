//! Upstream endpoints: requests forwarded to an application over HTTP/1.1, and its answers.
//!
//! An [`Upstream`] has nodes, one of which serves a request: the selector's first, or another if
//! that fails. Bodies are streamed both ways and never held as a whole. Deliberately absent: the
//! meaning of a decision's headers, HTTP/2 to applications, and balancing load among nodes of one
//! region, which a load balancer's address does better.

mod settings;
mod error;
mod field_names;
mod hop_by_hop;
mod node;
mod node_metrics;
mod last_heard;
mod fault;
mod balance;
mod upload;
mod download;
mod framing;
mod connector;
mod links;
mod link;
mod client;
mod try_span;
mod attempt;
mod race;
mod outgoing;
mod exchange;
mod tunnel;
mod check;
mod task_set;
mod tasks;
mod application;
mod upstreams;
mod via;
mod forwarded;
mod request_fields;
mod response_fields;
mod proxy;
mod position;
mod forward;
mod fetch;

pub use application::Upstream;
pub use client::ClientError;
pub use download::{AnswerSource, Download, DownloadError};
pub use error::{AttemptError, UpstreamError, UpstreamSetupError};
pub use exchange::Answered;
pub use fetch::{KeptAnswer, keep, stated_age};
pub use forward::{ProxiedRequest, wants_websocket, with_websocket};
pub use forwarded::{origin_seen, requested_host};
pub use hop_by_hop::{names_upgrade, strip_hop_by_hop, withholds_fields};
pub use link::AnswerBody;
pub use node::{UpstreamNode, encode_path};
pub use outgoing::{Outgoing, Patience};
pub use position::PositionSource;
pub use proxy::Proxy;
pub use request_fields::{gateway_fields, is_ours, shared_gateway_fields};
pub use settings::{
    CheckConfig, NodeUrl, NodeUrlError, UpstreamConfig, UpstreamLimits, UpstreamNodeConfig,
    UpstreamSettings,
};
pub use tunnel::{relay_upgraded, tunnel};
pub use upload::{Upload, UploadBody, UploadError, UploadState};
pub use upstreams::Upstreams;
pub use via::Pseudonym;
