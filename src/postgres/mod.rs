//! One PostgreSQL server: its URL, its TLS, one connection to it.
