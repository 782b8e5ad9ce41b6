//! Answers to probes.
