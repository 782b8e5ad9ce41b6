//! SQL endpoints: one statement, its parameters, its answer.

mod argument;
mod execute;
mod failure;
mod lexer;
mod parameter;
mod statement;
mod target;

pub use argument::{Argument, ArgumentError, RequestValues};
pub(super) use execute::POSITION;
pub use execute::{Answer, Position, read, write};
pub use failure::{Failure, FailureKind};
pub use parameter::{Parameter, Source};
pub use statement::{SqlStatement, StatementError};
pub use target::{SqlTarget, SqlTargetError};
