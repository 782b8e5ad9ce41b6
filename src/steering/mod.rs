//! Which node: pure choice.
