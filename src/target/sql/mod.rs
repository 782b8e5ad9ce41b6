//! SQL endpoints: one statement, its parameters, its answer.

mod argument;
mod catalogue;
mod execute;
mod failure;
mod lexer;
mod names;
mod parameter;
mod statement;
mod stateless;
mod target;

pub use argument::{Argument, ArgumentError, RequestValues};
pub(super) use catalogue::{fingerprint, stateless};
pub(super) use execute::POSITION;
pub use execute::{Answer, Position, ReadOptions, read, write};
pub use failure::{Failure, FailureKind};
pub use parameter::{Parameter, Source};
pub use stateless::Stateless;
pub use statement::{SqlStatement, StatementError};
pub use target::{SqlTarget, SqlTargetError};
