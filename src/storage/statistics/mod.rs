//! What is counted of requests to buckets, and how it becomes rows.
//!
//! Requests only add to counters in memory; `record` writes these in batches.

mod times;
mod attempts;
mod tally;
mod standing;

pub(super) use attempts::{Attempts, Outcomes};
pub(super) use standing::{BucketStatus, status};
pub(super) use tally::Tally;
