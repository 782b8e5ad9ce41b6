//! The endpoints: from method and path to what serves a request.
//!
//! [`Router`] finds the endpoint of a method and a normalised path; [`sql`](crate::sql) turns its
//! statement and a request's values into an answer whose bytes PostgreSQL produces;
//! [`upstream`](crate::upstream) forwards the request to an application.

mod catalogue;
mod compiled;
mod preparation;
mod router;
mod routes;

pub use catalogue::watch_catalogue;
pub use compiled::{Endpoint, EndpointError, Shared, Target};
pub use preparation::check_statements;
pub use router::{Found, Router};
pub use routes::Routes;
