//! The policy store: revisions reach every gateway, and go back.

pub(crate) mod kit;
mod commands;
mod failovers;
mod incidents;
mod restarts;
mod safety;
mod stages;
mod store;
