//! What a request is owed: path → consistency floor and Cache-Control, the decision made from them once
//! per request, and the plan that says which nodes can honour it, in which order, and why.
//!
//! Deliberately absent: latency averages, breakers and hysteresis (they are part of the ranking,
//! which `steering` produces), and every kind of I/O. The same decision, views, ranking and instant
//! give the same plan in every process.

mod directives;
mod lifetime;
mod cache_control;
mod settings;
mod rate_limit;
mod web_origin;
mod cors;
mod policy_row;
mod reason;
mod reuse;
mod row;
mod table;
mod decision;
mod plan;
pub mod http_cache;

pub use cache_control::{CacheControl, CacheControlError, NO_STORE_PRIVATE};
pub use cors::{CORS_MAX_AGE_DEFAULT, Cors, CorsRow, RequestOrigin};
pub use decision::Decision;
pub use lifetime::Lifetime;
pub use plan::{NodePlan, NodeView, Step, plan};
pub use policy_row::PolicyRow;
pub use rate_limit::{LimitWindow, RateLimit, RateLimitError};
pub use reason::Reason;
pub use reuse::{Reuse, is_no_transform, is_one_clients, is_targeted, varies_by_client};
pub use row::Row;
pub use settings::ConsistencySettings;
pub use table::PolicyTable;
