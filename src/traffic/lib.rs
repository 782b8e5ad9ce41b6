//! The traffic policy: which region serves a request.

pub mod syntax;
