//! Path → consistency floor and Cache-Control, and the decision made from them once per request.

mod directives;
mod cache_control;
mod decision;
mod lifetime;
mod path;
mod pattern;
mod reuse;
mod row;
mod table;

pub use cache_control::{CacheControl, CacheControlError, NO_STORE_PRIVATE};
pub use decision::Decision;
pub use lifetime::Lifetime;
pub use path::{PathError, normalise};
pub use pattern::{PathPattern, PatternError};
pub use reuse::{Reuse, is_targeted, varies_by_client};
pub use row::{Row, RowName};
pub use table::{PolicyError, PolicyTable};
