//! One request to the database, and its answer.

use tokio::time::Instant;

use super::local_settings::BoundSettings;
use super::{Answer, Argument, Database, SqlTarget};
use crate::http::Served;
use crate::regions::RegionRoute;
use tidegate_model::WalPosition;
use tidegate_policy::Decision;

/// One request, ready to be sent to a node.
pub(super) struct SqlRequest<'a> {
    pub(super) database: &'a Database,
    pub(super) target: &'a SqlTarget,
    pub(super) decision: &'a Decision,
    /// Where the traffic policy sends it, if there is one.
    pub(super) route: Option<&'a RegionRoute>,
    pub(super) arguments: &'a [Argument<'a>],
    /// What its transaction sets.
    pub(super) local: Option<&'a BoundSettings<'a>>,
    /// Whether the method is safe, so that the request may be sent again.
    pub(super) safe: bool,
    /// When the client gets a `deadline` problem instead of an answer.
    pub(super) deadline: Instant,
}

/// An answer and how it was produced.
pub(super) struct SqlOutcome {
    pub(super) answer: Answer,
    pub(super) served: Served,
    /// The position the client has now seen, if the answer has to carry a token.
    pub(super) seen: Option<WalPosition>,
}
