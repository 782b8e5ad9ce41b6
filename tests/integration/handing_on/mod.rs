//! Requests that one region's gateway hands to another's, through real processes.

mod failures;
mod hostile;
mod judging;
pub(crate) mod kit;
mod lasting;
mod operating;
mod passing;
mod scripted;
mod sql;

pub(crate) use kit::{FleetScene, REGIONS, named, serving};
