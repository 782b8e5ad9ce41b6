//! The spans of a request to the database: one of each attempt, and below it one of the statement, by
//! OpenTelemetry's conventions for database clients.

use std::sync::Arc;

use super::address::DatabaseAddress;
use super::planned::{StepError, StepResult};
use super::send::SendError;
use super::verdict::Silence;
use super::{Answer, FailureKind, SqlError};
use tidegate_policy::Reason;
use tidegate_telemetry::trace::{ActiveSpan, SpanKind};

/// Begins the span of an attempt at a node.
pub(super) fn attempt_span(node: &Arc<str>, reason: Reason) -> ActiveSpan {
    let mut span = ActiveSpan::begin("attempt", SpanKind::Internal);
    span.set("tidegate.node", node);
    span.set("tidegate.reason", reason.as_str());
    span
}

/// Says what came of an attempt.
pub(super) fn describe_attempt(span: &mut ActiveSpan, end: &StepResult) {
    match end {
        Err(StepError::Next(_)) => span.fail("unavailable"),
        Err(StepError::Unproven) => span.set("tidegate.outcome", "unproven"),
        Err(StepError::Refused(_)) => span.set("tidegate.outcome", "refused"),
        Err(StepError::Final(error)) => describe_final(span, error),
        Ok(_) => {}
    }
}

/// Says why an attempt is the last one. Errors of the client do not fail the span.
fn describe_final(span: &mut ActiveSpan, error: &SqlError) {
    match error {
        SqlError::Deadline => span.fail("timeout"),
        SqlError::OutcomeUnknown(_) => span.fail("outcome-unknown"),
        SqlError::Pool(_) | SqlError::NoPrimary | SqlError::NoNode => span.fail("unavailable"),
        SqlError::Statement(failure) => match &failure.kind {
            FailureKind::Timeout => span.fail("timeout"),
            kind if is_of_client(kind) => span.set("tidegate.outcome", "rejected"),
            _ => span.fail("failed"),
        },
        SqlError::Cursor(_) => span.fail("failed"),
        SqlError::Argument(_)
        | SqlError::Limit(_)
        | SqlError::TooLong(_)
        | SqlError::Role(_)
        | SqlError::NotAString(_)
        | SqlError::NoRow
        | SqlError::SpillBudget
        | SqlError::WriteLost(_) => span.set("tidegate.outcome", "rejected"),
    }
}

/// Begins the span of a statement, with its text as configured, which has no value of a request in it.
pub(super) fn statement_span(address: &DatabaseAddress, text: &Arc<str>) -> ActiveSpan {
    let mut span = ActiveSpan::begin("postgresql", SpanKind::Client);
    if span.is_recorded() {
        span.rename(address.database.to_string());
        span.set("db.system.name", "postgresql");
        span.set("db.namespace", &address.database);
        span.set("server.address", &address.host);
        span.set("server.port", address.port);
        span.set("db.query.text", text);
    }
    span
}

/// Says what came of a statement. Errors of the client do not fail the span, as a status of 4xx does not.
pub(super) fn describe_statement(span: &mut ActiveSpan, answer: &Result<Answer, SendError>) {
    let failure = match answer {
        Ok(_) => return,
        Err(SendError::Silent(silence)) => return span.fail(name(*silence)),
        Err(SendError::Failed(failure)) => failure,
    };
    let state = failure.cause.code().map(|state| state.code().to_owned());
    if let Some(state) = &state {
        span.set("db.response.status_code", state.clone());
    }
    if !is_of_client(&failure.kind) {
        match state {
            Some(state) => span.fail(state),
            None => span.fail("lost"),
        }
    }
}

fn is_of_client(kind: &FailureKind) -> bool {
    match kind {
        FailureKind::InvalidValue { .. }
        | FailureKind::InvalidSetting
        | FailureKind::Denied
        | FailureKind::Conflict { .. }
        | FailureKind::Constraint { .. }
        | FailureKind::Raised { .. }
        | FailureKind::Collision => true,
        FailureKind::Timeout
        | FailureKind::NotPrimary
        | FailureKind::Unavailable
        | FailureKind::Unexpected => false,
    }
}

fn name(silence: Silence) -> &'static str {
    match silence {
        Silence::Deadline => "timeout",
        Silence::Lost => "lost",
        Silence::HeldUp => "held-up",
        Silence::OtherRole => "other-role",
    }
}
