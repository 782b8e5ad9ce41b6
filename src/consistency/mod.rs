//! How fresh an answer must be, and the WAL positions that prove it.

mod level;
mod lsn;

pub use level::{Consistency, Level};
pub use lsn::{Lsn, LsnError, SystemId, Timeline, WalPosition};
