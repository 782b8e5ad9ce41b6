//! One connection pool per node.
