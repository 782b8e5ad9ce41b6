//! What a shared HTTP cache may store and reuse (RFC 9111): functions of heads and of an age.
//!
//! Rows with `cache_control = "application"` use it. Deliberately absent: the store, clocks, and partial
//! answers, which are never stored.

mod directive_set;
mod wishes;
mod terms;
mod selection;
mod conditions;
mod range;
mod update;

pub use conditions::{lists_tag, not_modified};
pub use range::{Slice, slice};
pub use selection::Selection;
pub use terms::{Exchange, Reusable, ReuseTerms};
pub use update::{add_validators, is_kept, update};
pub use wishes::Wishes;
