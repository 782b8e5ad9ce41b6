//! Why a bearer token is not accepted.

use std::borrow::Cow;

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;

use crate::http::{Problem, ProblemKind};

const REALM: &str = "Bearer realm=\"tidegate\"";

/// Why a bearer token is not accepted. Every text may be shown to the client: it contains nothing
/// from the token, and from the configuration only the name of a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Neither a secret nor a key set is configured.
    #[error("this server is not set up to accept tokens")]
    NotConfigured,
    /// There is no `Authorization` field, or it does not contain a bearer token.
    #[error("a bearer token is required")]
    Missing,
    /// There is more than one `Authorization` field: what is behind may read another than is verified.
    #[error("there is more than one Authorization field")]
    Repeated,
    /// The token is longer than any real one.
    #[error("the token is too long")]
    TooLong,
    /// The token is not a signed JSON Web Token in compact form.
    #[error("the token is malformed")]
    Malformed,
    /// The token is signed with an algorithm that its key is not for, or not signed.
    #[error("the algorithm of the token is not accepted")]
    Algorithm,
    /// The header names extensions that must be understood (`crit`).
    #[error("the token demands an extension that is not supported")]
    Critical,
    /// No key has the token's key id.
    #[error("the key of the token is not known")]
    UnknownKey,
    /// The signature does not match the token.
    #[error("the signature of the token is not valid")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `aud` does not contain the configured audience.
    #[error("the token is meant for another audience")]
    Audience,
    /// `iss` is not the configured issuer.
    #[error("the token comes from another issuer")]
    Issuer,
    /// A claim is absent or of the wrong type.
    #[error("the claim {0} of the token is missing or malformed")]
    Claim(Cow<'static, str>),
    /// The token is not the one that is configured.
    #[error("the token is not valid")]
    OtherToken,
    /// The key set was never fetched: the token cannot be verified now. This is not the client's
    /// fault, so the answer is not 401.
    #[error("tokens cannot be verified at the moment")]
    KeysUnavailable,
}

impl AuthError {
    /// The `WWW-Authenticate` value of a 401 (RFC 6750, section 3).
    #[must_use]
    pub fn challenge(&self) -> String {
        match self {
            Self::NotConfigured | Self::Missing | Self::KeysUnavailable => REALM.to_owned(),
            Self::Repeated
            | Self::TooLong
            | Self::Malformed
            | Self::Algorithm
            | Self::Critical
            | Self::UnknownKey
            | Self::Signature
            | Self::Expired
            | Self::NotYetValid
            | Self::Audience
            | Self::Issuer
            | Self::OtherToken
            | Self::Claim(_) => {
                format!("{REALM}, error=\"invalid_token\", error_description=\"{self}\"")
            }
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let kind = match error {
            AuthError::KeysUnavailable => ProblemKind::Overloaded,
            AuthError::NotConfigured
            | AuthError::Missing
            | AuthError::Repeated
            | AuthError::TooLong
            | AuthError::Malformed
            | AuthError::Algorithm
            | AuthError::Critical
            | AuthError::UnknownKey
            | AuthError::Signature
            | AuthError::Expired
            | AuthError::NotYetValid
            | AuthError::Audience
            | AuthError::Issuer
            | AuthError::OtherToken
            | AuthError::Claim(_) => ProblemKind::Unauthorized,
        };
        let challenge = HeaderValue::try_from(error.challenge());
        let problem = Self::of(kind, error);
        match challenge {
            Ok(challenge) => problem.with_field(WWW_AUTHENTICATE, challenge),
            Err(_not_a_header) => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_a_token_learns_only_the_scheme() {
        assert_eq!(AuthError::Missing.challenge(), r#"Bearer realm="tidegate""#);
    }

    #[test]
    fn a_refused_token_learns_why() {
        assert_eq!(
            AuthError::Claim("exp".into()).challenge(),
            r#"Bearer realm="tidegate", error="invalid_token", error_description="the claim exp of the token is missing or malformed""#
        );
    }
}
