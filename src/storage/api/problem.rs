//! Failures as problems.

use crate::http::{Problem, ProblemKind};
use crate::storage::StorageError;

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        let kind = match &error {
            StorageError::Invalid(_) => ProblemKind::InvalidParameter,
            StorageError::NotFound(..) => ProblemKind::NotFound,
            StorageError::NameTaken(_) | StorageError::InUse(_) => ProblemKind::Conflict,
            StorageError::NoNode(_) => ProblemKind::NoPrimary,
            StorageError::Database(_) | StorageError::Sealed(_) | StorageError::Spool(_) => {
                return Self::internal(error);
            }
            StorageError::NoSuchKey
            | StorageError::NoSuchUpload
            | StorageError::InvalidPart
            | StorageError::PartTooSmall
            | StorageError::ConditionFailed
            | StorageError::QuotaExceeded(..)
            | StorageError::NoMember(_)
            | StorageError::NoCopy(_)
            | StorageError::NotKept(_)
            | StorageError::Body(_)
            | StorageError::Busy
            | StorageError::LeaseLost => {
                // Those are of objects, which the API does not touch.
                return Self::internal(error);
            }
        };
        Self::of(kind, error)
    }
}

pub(super) fn nothing_here() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is nothing here")
}

pub(super) async fn not_found() -> Problem {
    nothing_here()
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(ProblemKind::MethodNotAllowed, "the path has no such method")
}
