//! Names of places and of the nodes in them.
//!
//! Which regions exist and where their servers listen is configuration, not here.

mod node_id;
mod region_id;

pub use node_id::NodeId;
pub use region_id::{RegionError, RegionId};
