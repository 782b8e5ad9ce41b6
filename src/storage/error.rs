//! Why a storage request or command failed.

use tokio_postgres::error::SqlState;

use super::fault::Fault;

/// Why a storage request or command failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The request is not one that can be served; the text is for the client.
    #[error("{0}")]
    Invalid(String),
    /// There is nothing of this name.
    #[error("there is no {0} `{1}`")]
    NotFound(&'static str, String),
    /// The name is taken.
    #[error("the name `{0}` is taken")]
    NameTaken(String),
    /// It is still in use; the text says by what.
    #[error("{0}")]
    InUse(String),
    /// The key has no object.
    #[error("the key has no object")]
    NoSuchKey,
    /// There is no such upload.
    #[error("there is no such upload")]
    NoSuchUpload,
    /// A part that is to be put together is missing or another one.
    #[error("a part is missing or has another ETag")]
    InvalidPart,
    /// A part other than the last is smaller than 5 MiB.
    #[error("a part other than the last is smaller than 5 MiB")]
    PartTooSmall,
    /// A condition of the request does not hold.
    #[error("a condition of the request does not hold")]
    ConditionFailed,
    /// So many bytes have no room at so many members as must have them: others have reached their quota, or
    /// refuse writes because of one.
    #[error("QUOTA_EXCEEDED: {}", no_quota(.0, .1))]
    QuotaExceeded(u64, usize),
    /// No member took the bytes.
    #[error("no bucket has taken the bytes")]
    NoMember(#[source] Option<Fault>),
    /// No member gave the bytes.
    #[error("no bucket has given the bytes")]
    NoCopy(#[source] Option<Fault>),
    /// A bucket failed after more of the body than is kept.
    #[error("a bucket failed, and the body is too large to be sent to another")]
    NotKept(#[source] Fault),
    /// The client's body cannot be used.
    #[error(transparent)]
    Body(#[from] IncomingError),
    /// There is no memory for another upload at the moment.
    #[error("there is no room for another upload at the moment")]
    Busy,
    /// The reservation has expired: the upload took longer than the lease without progress.
    #[error("the reservation has expired")]
    LeaseLost,
    /// No node can be asked.
    #[error("no node of the database can be asked: {0}")]
    NoNode(String),
    /// The database has refused a statement.
    #[error("{}{}", hint(.0), tidegate_model::error_chain::chain(.0))]
    Database(#[from] tokio_postgres::Error),
    /// What was sealed cannot be opened.
    #[error("{0}")]
    Sealed(&'static str),
    /// The spool file cannot be used.
    #[error("the spool cannot be used: {0}")]
    Spool(#[source] std::io::Error),
}

fn no_quota(bytes: &u64, copies: &usize) -> String {
    match copies {
        1 => format!("no member has quota left for {bytes} bytes"),
        _ => format!(
            "there are not {copies} members, as many as have to have a copy, with quota left for {bytes} bytes"
        ),
    }
}

/// What probably mends a statement about what is not in the database.
fn hint(error: &tokio_postgres::Error) -> &'static str {
    match error.code() {
        Some(
            &SqlState::UNDEFINED_TABLE
            | &SqlState::UNDEFINED_COLUMN
            | &SqlState::UNDEFINED_FUNCTION
            | &SqlState::INVALID_SCHEMA_NAME,
        ) => "has this version's `tidegate migrate --only storage` been run? ",
        _ => "",
    }
}

/// What is wrong with a client's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IncomingError {
    /// It ended early, or is longer than declared.
    #[error("the body has another length than was declared")]
    Incomplete,
    /// A digest differs.
    #[error("the body does not have the digest that was declared")]
    BadDigest,
    /// The payload's hash, which was signed, differs.
    #[error("the body does not have the SHA-256 that was signed")]
    WrongSha256,
    /// A chunk's signature is wrong.
    #[error("the signature of a chunk is wrong")]
    WrongSignature,
    /// No byte arrived in time.
    #[error("no byte arrived in time")]
    TimedOut,
    /// It is that of a copy, and its source cannot be read to the end.
    #[error("the source of the copy cannot be read to its end")]
    SourceFailed,
    /// It is larger than an upload may be.
    #[error("the body is larger than 5 GiB")]
    TooLarge,
}
