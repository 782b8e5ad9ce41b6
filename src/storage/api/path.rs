//! What a path names: a bucket, a repository or a key, by its id or its name.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::problem::nothing_here;
use crate::http::Problem;

/// Longer than any id or name.
const NAME_BYTES_MAX: usize = 64;

/// Names of a path: none of them can be anything but one.
pub(super) struct Named<const N: usize>(pub(super) [String; N]);

impl<S: Send + Sync, const N: usize> FromRequestParts<S> for Named<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(names): Path<Vec<String>> = Path::from_request_parts(parts, state)
            .await
            .map_err(|_not_text| nothing_here())?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let is_name = |name: &String| name.len() <= NAME_BYTES_MAX && name.bytes().all(is_plain);
        if !names.iter().all(is_name) {
            return Err(nothing_here());
        }
        names.try_into().map(Self).map_err(|_more| nothing_here())
    }
}
