//! What every operation takes from its request, and the token that it answers with.

use http::{HeaderMap, HeaderValue};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use tidegate_model::{Consistency, RequestToken, WalPosition, X_CONSISTENCY, X_CONSISTENCY_TOKEN};

use super::access::Allowed;
use crate::storage::Store;
use crate::storage::owed::Owed;
use crate::storage::policy::RepositoryPolicy;

/// What the request was allowed to use.
pub(super) fn allowed<T>(request: &S3Request<T>) -> S3Result<Allowed> {
    let allowed = request.extensions.get::<Allowed>().cloned();
    allowed.ok_or_else(|| s3_error!(AccessDenied))
}

/// What a read is owed: the repository's level unless the request states one, and its token.
pub(super) fn owed(
    store: &Store,
    headers: &HeaderMap,
    policy: &RepositoryPolicy,
) -> S3Result<Owed> {
    let invalid = |error: &dyn std::fmt::Display| s3_error!(InvalidArgument, "{error}");
    let stated = Consistency::parse_fields(headers.get_all(&X_CONSISTENCY));
    let stated = stated.map_err(|error| invalid(&error))?;
    let token = RequestToken::from_fields(headers.get_all(&X_CONSISTENCY_TOKEN), &store.tokens);
    let token = token.map_err(|error| invalid(&error))?;
    let default = policy.consistency.consistency();
    let consistency = match token {
        // A token raises the level, as everywhere.
        RequestToken::None => stated.unwrap_or(default),
        _ => stated.unwrap_or(default).stricter(Consistency::SESSION),
    };
    Ok(Owed { consistency, token })
}

/// Adds the token for what was seen or written.
pub(super) fn with_token<T>(
    store: &Store,
    mut response: S3Response<T>,
    position: Option<WalPosition>,
) -> S3Response<T> {
    let token = position.map(|position| store.tokens.sign(&position));
    if let Some(token) = token.and_then(|token| HeaderValue::try_from(token).ok()) {
        response.headers.insert(&X_CONSISTENCY_TOKEN, token);
    }
    response
}
