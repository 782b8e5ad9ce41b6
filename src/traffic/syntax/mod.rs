//! The text of a policy: tokens, the syntax tree, the normal form, and the display of errors.
//!
//! The meaning of a text is not determined here: names, units and rules about several clauses
//! belong to `check`.

/// The version of the language: raised with every change of syntax or meaning.
pub const LANGUAGE: u32 = 1;

pub mod ast;
mod diagnostic;
mod format;
mod parse;
mod render;
mod similar;
mod source;
mod span;
mod token;

#[cfg(test)]
mod tests;

pub use diagnostic::{Diagnostic, Diagnostics, ERRORS_MAX, Severity};
pub(crate) use diagnostic::{Quoted, counted};
pub use format::format;
pub(crate) use parse::is_taken;
pub use parse::{Parsed, parse};
pub(crate) use similar::{listed, similar};
pub use source::{BYTES_MAX, Source};
pub use span::Span;
