//! Serves a request by the endpoint's own backend.

use axum::response::Response;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::{Call, Endpoint, EndpointAuth, Frontend};
use crate::auth::{Claims, authorization};
use crate::http::{Account, Problem};
use tidegate_model::{TokenKeys, WalPosition, X_CONSISTENCY_TOKEN, session_cookie};
use tidegate_policy::Decision;

/// Lets the backend serve a request, if there is room; `account` records how.
pub(super) async fn serve_here(
    frontend: &Frontend,
    endpoint: &Endpoint,
    mut call: Box<Call>,
    account: &mut Account,
) -> Result<Response, Problem> {
    if call.claims.is_none() && matches!(endpoint.auth, EndpointAuth::Jwt) {
        call.claims = authenticate(frontend, endpoint, &call.head.headers).await?;
    }
    let permit = frontend.shedding.enter()?;
    let backends = &frontend.backends;
    let mut response = endpoint.backend.serve(backends, call, account).await?;
    // What remains depends on how fast the client reads.
    drop(permit);
    if let (Some(decision), Some(seen)) = (&account.decision, &account.seen) {
        give_token(&frontend.tokens, response.headers_mut(), decision, seen);
    }
    Ok(response)
}

/// Returns the claims of the client's JWT, if the endpoint requires one.
pub(super) async fn authenticate(
    frontend: &Frontend,
    endpoint: &Endpoint,
    headers: &HeaderMap,
) -> Result<Option<Claims>, Problem> {
    match endpoint.auth {
        EndpointAuth::None => Ok(None),
        EndpointAuth::Jwt => {
            let (token, needed) = (authorization(headers)?, endpoint.backend.claims());
            Ok(Some(frontend.verifier.verify_with(token, needed).await?))
        }
    }
}

/// Gives a client the position that it has seen by now.
fn give_token(
    tokens: &TokenKeys,
    headers: &mut HeaderMap,
    decision: &Decision,
    seen: &WalPosition,
) {
    let token = tokens.sign(seen);
    if decision.session_cookie
        && let Ok(cookie) = session_cookie(&token)
    {
        headers.append(SET_COOKIE, cookie);
    }
    if let Ok(token) = HeaderValue::try_from(token) {
        headers.insert(&X_CONSISTENCY_TOKEN, token);
    }
}
