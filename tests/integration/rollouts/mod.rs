//! The policy store: revisions reach every gateway, and go back.

pub(crate) mod kit;
mod commands;
mod floors;
mod going_back;
mod failovers;
mod incidents;
mod inputs;
mod restarts;
mod safety;
mod stages;
mod store;
