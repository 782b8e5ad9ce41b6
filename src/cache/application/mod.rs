//! Answers of applications that decide themselves about caching: an RFC 9111 shared cache in the store of
//! the other answers.
//!
//! What may be stored and reused is decided in [`http_cache`](tidegate_policy::http_cache). Deliberately
//! absent: request collapsing. An answer may turn out to be for its client alone, and the others would have
//! waited for nothing.

mod answer;
mod variants;
mod http_cache;
mod recording;

pub use answer::StoredAnswer;
pub use http_cache::{HttpCache, Recorded, Replaced, Storing};
pub use recording::Recording;
pub use variants::Variants;
