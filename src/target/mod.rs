//! What an endpoint does.
//!
//! [`Router`] finds the endpoint of a method and a normalised path; [`sql`] turns its one statement
//! and a request's values into an answer whose bytes PostgreSQL made; [`upstream`] hands the request
//! on to an application.

mod body;
mod catalogue;
mod endpoint;
mod latencies;
mod preparation;
mod query;
mod quickness;
mod router;
mod routes;
pub mod sql;
pub mod upstream;

pub use body::{BodyError, JsonObject, json_text};
pub use catalogue::watch_catalogue;
pub use endpoint::{Endpoint, EndpointError, Shared, Target};
pub use latencies::Latencies;
pub use preparation::check_statements;
pub use query::{Query, QueryError};
pub use quickness::Quickness;
pub use router::{Found, Router};
pub use routes::Routes;
