//! Names of regions and nodes, and the one form of a path that every policy sees.
//!
//! Which regions exist and where their servers listen is configuration, not here.

mod node_id;
mod path;
mod path_pattern;
mod region_id;

pub use node_id::NodeId;
pub use path::{PathError, normalise};
pub use path_pattern::{Covers, PathPattern, PatternError};
pub use region_id::{RegionError, RegionId};
