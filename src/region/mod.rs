//! Names of places and of the nodes in them.
