//! What is sent of a span.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use super::context::{SpanContext, SpanId};
use super::value::Value;

/// Which side of an exchange a span is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Work within the gateway.
    Internal,
    /// A request that the gateway answers.
    Server,
    /// A request that it sends.
    Client,
}

/// A span that has ended.
#[derive(Debug)]
pub(super) struct SpanRecord {
    pub(super) context: SpanContext,
    pub(super) parent: Option<SpanId>,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: SpanKind,
    pub(super) started: SystemTime,
    pub(super) took: Duration,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) is_error: bool,
}
