//! Why a bearer is not recognised.

use std::borrow::Cow;

const REALM: &str = "Bearer realm=\"tidegate\"";

/// Why a bearer is not recognised. Every text may be shown to the client: it repeats nothing of
/// the token, and of the configuration only the name of a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Neither a secret nor a key set is configured.
    #[error("this server is not set up to accept tokens")]
    NotConfigured,
    /// There is no `Authorization` field, or it is not about a bearer token.
    #[error("a bearer token is required")]
    Missing,
    /// The token is longer than any real one.
    #[error("the token is too long")]
    TooLong,
    /// The token is not a signed JSON Web Token in compact form.
    #[error("the token is malformed")]
    Malformed,
    /// The token is signed in a way its key is not for, or not signed.
    #[error("the algorithm of the token is not accepted")]
    Algorithm,
    /// The header names extensions that must be understood (`crit`).
    #[error("the token demands an extension that is not supported")]
    Critical,
    /// No key goes by the token's key id.
    #[error("the key of the token is not known")]
    UnknownKey,
    /// The signature does not fit the token.
    #[error("the signature of the token is not valid")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come.
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
    /// The key set was never fetched: nothing can be said about the token now. Not the client's
    /// fault, so this is not an answer of 401.
    #[error("tokens cannot be verified at the moment")]
    KeysUnavailable,
}

impl AuthError {
    /// The `WWW-Authenticate` value that goes with a 401 (RFC 6750, section 3).
    #[must_use]
    pub fn challenge(&self) -> String {
        match self {
            Self::NotConfigured | Self::Missing | Self::KeysUnavailable => REALM.to_owned(),
            Self::TooLong
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
