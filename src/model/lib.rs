//! The values that every part of Tidegate uses: regions and nodes, levels and tokens, positions and
//! histories, and what is known about a node.
//!
//! Nothing here owns a clock, a socket or a task. Which regions and nodes exist is configuration.

mod condition;
mod config_error;
mod file;
mod environment;
pub mod error_chain;
mod printable;
mod level;
mod header;
mod lsn;
mod path;
mod path_pattern;
pub mod values;
pub mod settings;
mod region_id;
mod node_id;
mod server_identity;
mod node_status;
mod token;
mod request_token;
mod session_cookie;
mod timeline_history;

pub use condition::NodeCondition;
pub use config_error::{ConfigError, Place, quoted};
pub use environment::Environment;
pub use file::{open_file, read_file};
pub use header::{ConsistencyError, X_CONSISTENCY, X_CONSISTENCY_TOKEN};
pub use level::{Consistency, Level};
pub use lsn::{Lsn, LsnError, SystemId, Timeline, WalPosition};
pub use node_id::NodeId;
pub use node_status::NodeStatus;
pub use path::{PathError, is_normal, normalise};
pub use path_pattern::{Covers, PathPattern, PatternError};
pub use printable::{is_printable, printable};
pub use region_id::{RegionError, RegionId};
pub use request_token::RequestToken;
pub use server_identity::ServerIdentity;
pub use session_cookie::{
    FORGET_SESSION_COOKIE, has_session_cookie, session_cookie, token_in_cookies,
    without_session_cookie,
};
pub use timeline_history::{Survival, TimelineHistory, WriteLost};
pub use token::{TokenError, TokenKeys, TokenKeysError, TokenParts};
