//! Accept loop, connection limits and drain.
