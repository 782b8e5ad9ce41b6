//! One connection and one exchange: accept loop, connection limits, drain, and rate limits.
//!
//! [`serve()`] runs one listener with HTTP/1.1 and HTTP/2 on the same port, over TLS or in cleartext,
//! until its [`Drain`] is over. It bounds what a client can occupy without sending a whole request,
//! and what it can hold without reading the answer. A connection that leaves HTTP still counts until
//! its tunnel ends. Deliberately absent: every limit that requires a parsed request (bodies,
//! deadlines); those are in `endpoint/`.

mod after_http;
mod client;
mod generations;
mod host;
mod transfer_coding;
mod networks;
mod settings;
mod limits;
mod json_object;
mod query;
mod rate_limits;
mod shed_reason;
mod problem_kind;
mod problem;
mod request_error;
mod limit_error;
mod body;
mod cache_status;
mod account;
mod hop;
mod header_text;
mod answer;
mod compression;
mod request_id;
mod concurrency_limit;
mod shedding;
mod decision_counters;
mod level_times;
mod served_requests;
mod request_span;
mod kept_requests;
mod observe;
mod request_notes;
mod open_files;
mod drain;
mod signals;
mod tls;
mod listener;
mod activity;
mod metered;
mod frames;
mod connection_windows;
mod flood_guard;
mod linger;
mod client_body;
mod watched;
mod lent;
mod stream_task;
mod late_error;
mod pieces;
mod tracked;
mod connection;
mod serve;
#[cfg(test)]
mod tests;

pub use account::{Account, AccountView, Accounted, NodeRole, Routed, Served, Timing};
pub use after_http::AfterHttp;
pub use answer::{CONSISTENCY_STATUS, age_in_header, describe, may_be_kept, served_there};
pub use body::read_json;
pub use cache_status::{CacheCounters, CacheResult, CacheStatus};
pub use client::{Client, client_address};
pub use client_body::ClientBody;
pub use compression::{
    CompressedForms, Compression, CompressionSettings, NotSent, Stored, StoredBody, StoredCoding,
};
pub use concurrency_limit::{ConcurrencyLimit, Permit};
pub use connection_windows::{ConnectionWindows, Direction, FrameMeter};
pub use decision_counters::DecisionCounters;
pub use drain::Drain;
pub use frames::PREFACE_LENGTH;
pub use header_text::{HeaderText, HeaderValues};
pub use hop::{
    Hop, TIDEGATE_DEADLINE, TIDEGATE_ROUTE, TIDEGATE_UNPROCESSED, Unprocessed, refuse_upgrade,
    refused_upgrade,
};
pub use host::{HostError, host, without_port};
pub use json_object::{BodyError, JsonObject, json_text};
pub use kept_requests::{KeptRequest, KeptRequests, REQUESTS_KEPT_MAX};
pub use level_times::LevelTimes;
pub use limit_error::{Overloaded, RateLimited};
pub use limits::Limits;
pub use listener::Listener;
pub use observe::{AccessEntry, EndpointSeen, Observer, PROBE_PATHS};
pub use open_files::raise_open_files;
pub use pieces::Pieces;
pub use problem::Problem;
pub use problem_kind::ProblemKind;
pub use query::{Query, QueryError};
pub use rate_limits::{LimitedRow, RateLimits, Spent, whole_seconds};
pub use request_error::RequestError;
pub use request_id::{
    LoggedId, TRACEPARENT, Trace, X_REQUEST_ID, request_id, start_trace, trace_field,
};
pub use request_notes::{NotedRequest, RequestNotes, Understood};
pub use serve::{Drained, serve};
pub use served_requests::ServedRequests;
pub use settings::{
    ADMIN, ADMIN_DEFAULT, ADMIN_SECTION, ADMIN_TOKEN, LISTEN, LISTEN_DEFAULT, ServerSettings,
};
pub use shed_reason::ShedReason;
pub use shedding::Shedding;
pub use signals::drain_on_signals;
pub use stream_task::{StreamTasks, note_answer};
pub use tls::{
    Certificate, CertificateError, CertificateFiles, Handshakes, KEY_KINDS, TLS_CERT, TLS_KEY,
    TLS_SECTION, TlsAcceptor, TlsSetupError, UNFIT_FOR_TLS, check_chain, pem_certificates,
    pem_fault, pem_private_key, roots,
};
pub use tracked::OverTls;
pub use transfer_coding::{UnknownCoding, is_chunked};
