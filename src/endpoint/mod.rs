//! The endpoints: from method and path to the backend that serves a request, and the layers that a
//! request passes on the way.
//!
//! [`Public`] is the stack that every request passes; [`Backend`] finally serves it.
//! [`Router`] finds the endpoint of a method and a normalised path; [`sql`](crate::sql) turns its
//! statement and a request's values into an answer whose bytes PostgreSQL produces;
//! [`upstream`](crate::upstream) forwards the request to an application.

mod settings;
mod backend;
mod catalogue;
mod compiled;
mod error;
mod preparation;
mod router;
mod application_rows;
mod routes;
mod live_routes;
mod frontend;
mod reach;
mod reached;
mod decide;
mod here;
mod trip;
mod hand_on;
mod fetch_there;
mod fetch;
mod own_rules;
mod serve;
mod rate_limit;
mod cross_origin;
mod public;

pub use backend::{Backend, Backends, Call, SharedBy};
pub use catalogue::watch_catalogue;
pub use compiled::Endpoint;
pub use decide::Uncached;
pub use error::{EndpointError, RouteError};
pub use frontend::Frontend;
pub use live_routes::LiveRoutes;
pub use preparation::check_statements;
pub use public::Public;
pub use reached::Reached;
pub use router::{Found, Router};
pub use routes::Routes;
pub use settings::{
    EndpointAuth, EndpointConfig, EndpointMethod, RegionTables, RouteTables, TargetConfig,
    UpstreamTarget,
};
