//! Requests that one region's gateway hands to another's, through real processes.

mod failures;
mod hostile;
mod judging;
pub(crate) mod kit;
mod operating;
mod passing;
mod sql;
