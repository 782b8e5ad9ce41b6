//! The response cache: bounded by bytes, one query per key at a time, and never older than the
//! policy row allows.
//!
//! Whether a request may be answered from it is decided in `endpoint/`. Deliberately absent:
//! clocks, tasks and heuristics. An answer without a declared lifetime is not stored.

mod settings;
mod freshness;
mod key;
mod entity_tag;
mod entry;
mod error;
mod flight;
mod store;
mod origin;
mod fetch;
mod collapse;
mod fast_path;
mod application;

pub use application::{HttpCache, Recorded, Recording, Replaced, StoredAnswer, Storing, Variants};
pub use collapse::{AnswerCache, CachedRequest, FetchOutcome};
pub use entity_tag::{entity_tag, has_precondition, precondition_holds};
pub use entry::Entry;
pub use error::CacheError;
pub use fast_path::Hit;
pub use fetch::{Fetch, Fetched, FetchedBody, Missed, SharedRequest};
pub use flight::Follower;
pub use freshness::{Usable, ttl_in_header};
pub use key::CacheKey;
pub use origin::Origin;
pub use settings::CacheSettings;
pub use store::{FlightScope, Joined, Leader, ResponseCache};
