//! The traffic policy: its commands and its page.

mod commands;
mod documentation;
mod sql;
