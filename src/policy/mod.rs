//! Path → consistency floor and Cache-Control.
