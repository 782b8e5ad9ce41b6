//! Where a stored answer came from.

use std::sync::Arc;

use super::answer::Served;
use crate::policy::Decision;
use crate::target::Endpoint;

/// What was decided and done when a stored answer was made; the same for all who are given it.
#[derive(Debug)]
pub struct Origin {
    pub(super) decision: Decision,
    pub(super) served: Served,
    pub(super) endpoint: Arc<Endpoint>,
}
