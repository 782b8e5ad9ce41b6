//! The response cache: bounded by bytes, one query per key at a time, and never older than the
//! policy row allows.
//!
//! Whether a request may be answered from it is decided in `middleware/`. Deliberately absent:
//! clocks, tasks and heuristics. An answer without a declared lifetime is not stored.

mod freshness;
mod key;
mod entity_tag;
mod entry;
mod flight;
mod result;
mod store;

pub use entity_tag::{entity_tag, has_precondition, none_match, precondition_holds};
pub use entry::Entry;
pub use flight::{Follower, Leader};
pub use freshness::{Usable, age_in_header, ttl_in_header};
pub use key::Key;
pub use result::CacheResult;
pub use store::{Joined, ResponseCache};
