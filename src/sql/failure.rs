//! The meaning of a failed statement, by SQLSTATE.
//!
//! Only what the statement's author meant for clients (a raised message, a constraint's name, the
//! parameter that does not parse) is included; PostgreSQL's own texts are kept in the cause.

use http::StatusCode;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::Type;

use super::parameter::Parameter;
use super::statement::SqlStatement;

/// A failed statement: its meaning and its cause.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct Failure {
    /// Its meaning.
    pub kind: FailureKind,
    /// Whether the statement was sent, so that it may have taken effect.
    pub sent: bool,
    /// Whether everything that it may have left in its session was undone.
    pub session_is_clean: bool,
    /// The error from PostgreSQL or the connection; for the log only.
    #[source]
    pub cause: tokio_postgres::Error,
}

/// The meaning of a failed statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FailureKind {
    /// A value does not have the form that its parameter needs.
    #[error("{} is not {expected}", named(.parameter))]
    InvalidValue {
        /// The parameter, where PostgreSQL names it.
        parameter: Option<Parameter>,
        /// The expected form, e.g. `an integer`.
        expected: &'static str,
    },
    /// A setting does not accept the request's value.
    #[error("a value is not acceptable for the setting that it is for")]
    InvalidSetting,
    /// The role of the request may not do this, or not to these rows.
    #[error("the database does not allow this to the client")]
    Denied,
    /// The row already exists, or violates an exclusion constraint.
    #[error("the request conflicts with existing data ({constraint})")]
    Conflict {
        /// The constraint's name.
        constraint: String,
    },
    /// A constraint is violated.
    #[error("the request violates a constraint ({constraint})")]
    Constraint {
        /// The constraint's name.
        constraint: String,
    },
    /// A function refused with a message for the client.
    #[error("{message}")]
    Raised {
        /// Its status, from 400 to 499.
        status: StatusCode,
        /// Its message.
        message: String,
    },
    /// Another transaction took precedence; the same request may be sent again.
    #[error("the request conflicts with a concurrent one")]
    Collision,
    /// The statement took longer than `statement_timeout`.
    #[error("the statement took too long")]
    Timeout,
    /// A write reached a server that is not, or no longer, the primary. Nothing was executed.
    #[error("the server is not the primary")]
    NotPrimary,
    /// The node cannot serve; another one may.
    #[error("the node is unavailable")]
    Unavailable,
    /// A fault of the configuration or of the gateway.
    #[error("the statement failed")]
    Unexpected,
}

impl Failure {
    /// Returns the meaning of a statement's error; `types` are those of its parameters, as far as
    /// they are known, and `sent` is whether it was run or only prepared.
    pub(super) fn of(
        cause: tokio_postgres::Error,
        statement: &SqlStatement,
        types: &[Type],
        sent: bool,
    ) -> Self {
        let kind = match cause.as_db_error() {
            Some(error) => kind_of(error, statement, types),
            None => FailureKind::Unavailable,
        };
        Self {
            kind,
            sent: sent && !lacks_resources(&cause),
            session_is_clean: true,
            cause,
        }
    }

    /// Returns the meaning of an error at the beginning of a write. A server in recovery refuses
    /// `read write` as an unsupported feature; on another timeline a text is not a number.
    pub(super) fn of_begin(cause: tokio_postgres::Error, statement: &SqlStatement) -> Self {
        let refusals = [
            &SqlState::FEATURE_NOT_SUPPORTED,
            &SqlState::INVALID_TEXT_REPRESENTATION,
        ];
        let refused = cause.code().is_some_and(|code| refusals.contains(&code));
        let failure = Self::of(cause, statement, &[], true);
        match refused {
            true => Self {
                kind: FailureKind::NotPrimary,
                ..failure
            },
            false => failure,
        }
    }

    /// Returns the meaning of an error of the settings of a transaction: most values come from requests.
    pub(super) fn of_settings(cause: tokio_postgres::Error, statement: &SqlStatement) -> Self {
        let is_value = has_class(&cause, "22");
        let failure = Self::of(cause, statement, &[], true);
        match is_value {
            true => Self {
                kind: FailureKind::InvalidSetting,
                ..failure
            },
            false => failure,
        }
    }

    /// Returns the meaning of an error of the role of a transaction, which comes from the configuration.
    pub(super) fn of_role(cause: tokio_postgres::Error, statement: &SqlStatement) -> Self {
        let is_missing = has_class(&cause, "22");
        let failure = Self::of(cause, statement, &[], true);
        match is_missing {
            true => Self {
                kind: FailureKind::Unexpected,
                ..failure
            },
            false => failure,
        }
    }

    /// The same failure of a statement whose transaction has the request's settings and role: what these may not
    /// do, the client may not.
    pub(super) fn of_client(mut self) -> Self {
        if self.cause.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            self.kind = FailureKind::Denied;
        }
        self
    }

    /// Whether the connection was lost for a reason other than the statement: no answer arrived,
    /// the error is one after which the server closes it (PostgreSQL docs, "Message Severity
    /// Levels"), or the session could not be reset after another request.
    #[must_use]
    pub fn lost_connection(&self) -> bool {
        let severity = self.cause.as_db_error().map(DbError::parsed_severity);
        let ends = |severity| matches!(severity, Some(Severity::Fatal | Severity::Panic));
        let unclean = self.cause.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION);
        self.kind == FailureKind::Unavailable && (unclean || severity.is_none_or(ends))
    }

    /// The same failure of a statement that may not write: an attempt to write is the
    /// configuration's fault, not the server's.
    pub(super) fn of_read(mut self) -> Self {
        if self.kind == FailureKind::NotPrimary {
            self.kind = FailureKind::Unexpected;
        }
        self
    }
}

/// Whether the server gave an SQLSTATE of a class.
fn has_class(cause: &tokio_postgres::Error, class: &str) -> bool {
    cause
        .code()
        .is_some_and(|code| code.code().starts_with(class))
}

/// Whether the server refused because it lacked memory, disk or connections: then nothing was
/// executed.
fn lacks_resources(cause: &tokio_postgres::Error) -> bool {
    has_class(cause, "53")
}

fn kind_of(error: &DbError, statement: &SqlStatement, types: &[Type]) -> FailureKind {
    let code = error.code();
    // `not null` has only its column's name.
    let constraint = error.constraint().or(error.column());
    let constraint = || constraint.unwrap_or("unnamed").to_owned();
    let raised = |status| FailureKind::Raised {
        status,
        message: error.message().to_owned(),
    };
    match (code.code().get(..2).unwrap_or_default(), code) {
        (_, &SqlState::RAISE_EXCEPTION) => raised(StatusCode::UNPROCESSABLE_ENTITY),
        ("PT", code) => raised_status(code).map_or(FailureKind::Unexpected, raised),
        (_, &SqlState::UNIQUE_VIOLATION | &SqlState::EXCLUSION_VIOLATION) => {
            FailureKind::Conflict {
                constraint: constraint(),
            }
        }
        ("23", _) => FailureKind::Constraint {
            constraint: constraint(),
        },
        ("22", _) => invalid_value(error, statement, types),
        // For example a value that nests too deeply: while it is being bound, the client is at
        // fault.
        ("54", _) if error.where_().and_then(parameter_index).is_some() => {
            invalid_value(error, statement, types)
        }
        (_, &SqlState::QUERY_CANCELED) => FailureKind::Timeout,
        (_, &SqlState::READ_ONLY_SQL_TRANSACTION) => FailureKind::NotPrimary,
        (_, &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => {
            FailureKind::Collision
        }
        // No statement is executed after a session could not be reset.
        (_, &SqlState::IN_FAILED_SQL_TRANSACTION) => FailureKind::Unavailable,
        // Connection exceptions, lack of resources, operator intervention (shutdown, start-up).
        ("08" | "53" | "57", _) => FailureKind::Unavailable,
        _ => FailureKind::Unexpected,
    }
}

/// `PT404` → 404, for 400 to 499.
fn raised_status(code: &SqlState) -> Option<StatusCode> {
    let number: u16 = code.code().get(2..)?.parse().ok()?;
    StatusCode::from_u16(number)
        .ok()
        .filter(StatusCode::is_client_error)
}

/// Names the parameter if its value was refused while it was bound.
fn invalid_value(error: &DbError, statement: &SqlStatement, types: &[Type]) -> FailureKind {
    let index = error.where_().and_then(parameter_index);
    let parameter = index
        .and_then(|index| statement.parameters().get(index))
        .cloned();
    let expected = index
        .and_then(|index| types.get(index))
        .map_or("of the right form", expected);
    FailureKind::InvalidValue {
        parameter,
        expected,
    }
}

/// The index in the last line of an error's context, `unnamed portal parameter $2 = '...'`. The
/// text is in the server's language, so only the number is read; sessions hide the value.
fn parameter_index(context: &str) -> Option<usize> {
    let (_, after) = context.lines().last()?.rsplit_once('$')?;
    let (number, _hidden) = after.split_once(" = ").unwrap_or((after, ""));
    number.parse::<usize>().ok()?.checked_sub(1)
}

/// The description of a type for clients.
fn expected(kind: &Type) -> &'static str {
    match *kind {
        Type::INT2 | Type::INT4 | Type::INT8 => "an integer in range",
        Type::NUMERIC | Type::FLOAT4 | Type::FLOAT8 => "a number in range",
        Type::BOOL => "a boolean",
        Type::UUID => "a UUID",
        Type::DATE => "a date",
        Type::TIMESTAMP | Type::TIMESTAMPTZ => "a timestamp",
        Type::JSON | Type::JSONB => "JSON",
        _ => "of the right form",
    }
}

fn named(parameter: &Option<Parameter>) -> String {
    parameter
        .as_ref()
        .map_or_else(|| "a value".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_is_read_from_the_context_in_any_language() {
        for (context, index) in [
            ("unnamed portal parameter $1 = '...'", Some(0)),
            ("unbenanntes Portal, Parameter $12 = '...'", Some(11)),
            (
                "JSON data, line 1: {$7\nunnamed portal parameter $3 = '...'",
                Some(2),
            ),
            ("unnamed portal parameter $2", Some(1)),
            ("unnamed portal parameter $0 = '...'", None),
            ("PL/pgSQL function f() line 1 at RAISE", None),
            ("", None),
        ] {
            assert_eq!(parameter_index(context), index, "{context}");
        }
    }

    #[test]
    fn a_function_chooses_client_errors_only() {
        let status = |code| raised_status(&SqlState::from_code(code)).map(|status| status.as_u16());
        assert_eq!(status("PT400"), Some(400));
        assert_eq!(status("PT499"), Some(499));
        for code in ["PT200", "PT399", "PT500", "PT4xx", "PT+40"] {
            assert_eq!(status(code), None, "{code}");
        }
    }
}
