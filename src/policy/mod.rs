//! Path → consistency floor and Cache-Control, and the decision made from them once per request.

mod cache_control;
mod decision;
mod lifetime;
mod path;
mod pattern;
mod row;
mod table;

pub use cache_control::{CacheControl, CacheControlError, NO_STORE_PRIVATE};
pub use decision::Decision;
pub use lifetime::Lifetime;
pub use path::{PathError, normalise};
pub use pattern::{PathPattern, PatternError};
pub use row::Row;
pub use table::PolicyTable;
