//! Where a stored answer came from.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::answer::{Served, ServedUpstream};
use crate::endpoint::Endpoint;
use tidegate_policy::Decision;

/// What was decided and done when a stored answer was made; the same for all who are given it.
#[derive(Debug)]
pub struct Origin {
    pub(super) decision: Decision,
    pub(super) source: Source,
    pub(super) endpoint: Arc<Endpoint>,
}

/// Who made an answer.
#[derive(Debug)]
pub(super) enum Source {
    /// A database node, as JSON.
    Node(Served),
    /// An application.
    Application(Box<FromApplication>),
}

/// An application's answer but for its body.
#[derive(Debug)]
pub(super) struct FromApplication {
    pub(super) served: ServedUpstream,
    pub(super) status: StatusCode,
    /// What describes the body and the resource.
    pub(super) headers: HeaderMap,
}

impl Origin {
    /// The database node, if one made the answer.
    pub(super) fn served(&self) -> Option<&Served> {
        match &self.source {
            Source::Node(served) => Some(served),
            Source::Application(_) => None,
        }
    }

    /// The node of an upstream, if one made the answer.
    pub(super) fn upstream(&self) -> Option<&ServedUpstream> {
        match &self.source {
            Source::Node(_) => None,
            Source::Application(application) => Some(&application.served),
        }
    }

    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        match &self.source {
            Source::Node(_) => StatusCode::OK,
            Source::Application(application) => application.status,
        }
    }
}
