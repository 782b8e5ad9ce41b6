//! Endpoint and headers → decision.
//!
//! The decision is made here, once, from the path the router matched; everything downstream reads
//! it from the [`Decision`].

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, Method};

use super::{EndpointMethod, Reached};
use crate::http::Problem;
use tidegate_model::{
    Consistency, RequestToken, TokenKeys, X_CONSISTENCY, X_CONSISTENCY_TOKEN, has_session_cookie,
    token_in_cookies,
};
use tidegate_policy::{Decision, Lifetime};

impl Reached<'_> {
    /// Decides how the request is served.
    ///
    /// # Errors
    /// The problem to answer: `invalid-consistency` or `invalid-token`.
    pub fn decide(
        &self,
        tokens: &TokenKeys,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Decision, Problem> {
        let stated = Consistency::parse_fields(headers.get_all(&X_CONSISTENCY))?;
        let header = RequestToken::from_fields(headers.get_all(&X_CONSISTENCY_TOKEN), tokens)?;
        let token = match self.policy {
            Some(row) if row.session_cookie() => {
                header.stricter(token_in_cookies(headers.get_all(COOKIE), tokens))
            }
            _ => header,
        };
        let decision = Decision::new(self.policy, stated, token, method);
        let decision = match self.endpoint.sql() {
            // No configuration leads here; if one did, a statement's answer has no rules of its own.
            Some(_) => decision.without_own_rules(),
            None => decision,
        };
        Ok(match self.endpoint.backend.may_answer_bearer(headers) {
            true => decision.for_one_client(),
            false => decision,
        })
    }

    /// Returns how long the answer may be stored and given to other clients.
    ///
    /// A request's own `Cache-Control` and `Pragma` are not obeyed, which RFC 9111 section 5.2.1
    /// permits: they would let any client send all load to the database. Clients that need fresher
    /// data must state a level.
    ///
    /// # Errors
    /// Why this request does not use the cache.
    pub fn lifetime(&self, decision: &Decision, headers: &HeaderMap) -> Result<Lifetime, Uncached> {
        let get = EndpointMethod::One(Method::GET);
        let row = self.policy.filter(|_| self.endpoint.method == get);
        let lifetime = row.and_then(|row| row.cache_control().shared_lifetime());
        match lifetime {
            None => Err(Uncached::Path),
            Some(_) if decision.stated => Err(Uncached::Stated),
            Some(_) if headers.contains_key(AUTHORIZATION) => Err(Uncached::Authorization),
            Some(_) if has_session_cookie(headers.get_all(COOKIE)) => Err(Uncached::SessionCookie),
            Some(_) if self.endpoint.backend.shared_by().is_none() => Err(Uncached::Endpoint),
            Some(lifetime) => Ok(lifetime),
        }
    }
}

/// Why a request is neither answered from the response cache nor stored in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncached {
    /// No lifetime is declared.
    #[error("only a GET whose policy row is public and has a lifetime")]
    Path,
    /// It states a level or carries a token.
    #[error("a level or a token is stated")]
    Stated,
    /// It identifies the client.
    #[error("it carries Authorization")]
    Authorization,
    /// It carries a token that this path does not read; other gateways may.
    #[error("it carries a session cookie")]
    SessionCookie,
    /// The answer depends on more than the URL.
    #[error(
        "the endpoint needs a JWT, reads a header, does not answer 200, or has an `upstream` and no \
         `cache = true`"
    )]
    Endpoint,
}
