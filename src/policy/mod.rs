//! Path → consistency floor and Cache-Control, and the decision made from them once per request.

mod cache_control;
mod decision;
mod lifetime;
mod row;
mod table;

pub use cache_control::{CacheControl, CacheControlError, NO_STORE_PRIVATE};
pub use decision::Decision;
pub use lifetime::Lifetime;
pub use row::{Row, RowName};
pub use table::{PolicyError, PolicyTable};
pub use tidegate_model::{PathError, PathPattern, PatternError, normalise};
