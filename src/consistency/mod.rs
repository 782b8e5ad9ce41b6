//! How fresh an answer must be, and the WAL positions that prove it.
