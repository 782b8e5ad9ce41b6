//! What an endpoint does.
