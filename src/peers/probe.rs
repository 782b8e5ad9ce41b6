//! Probes of a region that has left.

/// What is asked of a region while no path of a client's is known.
pub(super) const PROBE_PATH: &str = "/health/edge";
