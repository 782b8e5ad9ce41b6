//! The policy store: revisions reach every gateway, and go back.

mod kit;
mod commands;
mod incidents;
mod safety;
mod stages;
mod store;
