//! Buckets, repositories and keys: rows, as the command line changes them.

mod buckets;
mod keys;
mod repositories;
mod rows;
mod sealed;

pub(super) use self::buckets::{BUCKETS, bucket};
pub(super) use self::keys::{KEYS, exposed, key_pair};
pub use self::repositories::RepositoryRow;
pub(super) use self::repositories::{REPOSITORIES, repository};
pub use self::rows::Registry;
pub(super) use self::rows::{check_name, new_id, signed, unsigned};
