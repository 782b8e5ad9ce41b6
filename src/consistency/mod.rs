//! How fresh an answer must be, and the WAL positions that prove it.

mod header;
mod level;
mod lsn;
mod request_token;
mod session_cookie;
mod timeline_history;
mod token;

pub use header::{ConsistencyError, X_CONSISTENCY, X_CONSISTENCY_TOKEN};
pub use level::{Consistency, Level};
pub use lsn::{Lsn, LsnError, SystemId, Timeline, WalPosition};
pub use request_token::RequestToken;
pub use session_cookie::{
    FORGET_SESSION_COOKIE, has_session_cookie, session_cookie, without_session_cookie,
};
pub use timeline_history::{Survival, TimelineHistory, WriteLost};
pub use token::{TokenError, TokenKeys, TokenKeysError, TokenParts};
