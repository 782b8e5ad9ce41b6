//! The endpoints: method and path → what serves a request.
//!
//! [`Router`] finds the endpoint of a method and a normalised path; [`sql`](crate::sql) turns its one
//! statement and a request's values into an answer whose bytes PostgreSQL made;
//! [`upstream`](crate::upstream) hands the request on to an application.

mod catalogue;
mod compiled;
mod error;
mod preparation;
mod router;
mod routes;

pub use catalogue::watch_catalogue;
pub use compiled::{Endpoint, EndpointError, Shared, Target};
pub use error::RouteError;
pub use preparation::check_statements;
pub use router::{Found, Router};
pub use routes::Routes;
