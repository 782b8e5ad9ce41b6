//! Names of metrics and the set-up of logs.
