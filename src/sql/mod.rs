//! SQL endpoints: one statement, its parameters, its answer.

mod argument;
mod catalogue;
mod execute;
mod failure;
mod latencies;
mod lexer;
mod names;
mod parameter;
mod quickness;
mod statement;
mod stateless;
mod target;

pub use argument::{Argument, ArgumentError, RequestValues};
pub(crate) use catalogue::{fingerprint, stateless};
pub(crate) use execute::POSITION;
pub use execute::{Answer, Position, ReadOptions, read, write};
pub use failure::{Failure, FailureKind};
pub use latencies::Latencies;
pub use parameter::{Parameter, Source};
pub use quickness::{Pace, Quickness};
pub use stateless::Stateless;
pub use statement::{SqlStatement, StatementError};
pub use target::{SqlTarget, SqlTargetError};
