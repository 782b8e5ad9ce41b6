//! Buckets, repositories and keys: rows, as the command line changes them.

mod buckets;
mod bucket_change;
mod keys;
mod members;
mod named;
mod repositories;
mod sealed;

pub(super) use self::bucket_change::change_bucket;
pub use self::buckets::Registry;
pub(super) use self::buckets::{BUCKETS, bucket, new_id, signed, unsigned};
pub(super) use self::keys::{KEYS, exposed, key_pair};
pub use self::keys::{KeyRegistry, ListedKey};
pub(super) use self::named::check_name;
pub use self::repositories::RepositoryRow;
pub(super) use self::repositories::{REPOSITORIES, repository};
pub use self::sealed::{Rewrapped, rewrap};
