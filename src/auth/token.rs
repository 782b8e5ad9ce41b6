//! The compact form of a signed token (RFC 7515): `header.claims.signature`.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::AuthError;
use super::claims::Claims;
use super::key::{Algorithm, Key};

/// Bytes of a token. Real ones are below 4 KiB; a bound keeps refusals cheap.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// A parsed token, not verified.
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

/// The part of a token's header that is read. Everything else is ignored, including embedded keys.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl<'a> Token<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(AuthError::Malformed)?;
        let header: Header = parse_json(header)?;
        if header.crit.is_some() {
            return Err(AuthError::Critical);
        }
        let algorithm = header.alg.parse()?;
        Ok(Self {
            algorithm,
            kid: header.kid,
            signed,
            claims,
            signature: decode(signature)?,
        })
    }

    /// The claims, if the signature was made with the key.
    pub(super) fn verify(&self, key: &Key) -> Result<Claims, AuthError> {
        if key.algorithm() != self.algorithm {
            return Err(AuthError::Algorithm);
        }
        key.verify(self.signed.as_bytes(), &self.signature)?;
        parse_json(self.claims).map(Claims)
    }
}

/// The `Authorization` field of a request, if there is one.
///
/// # Errors
/// If there are more.
pub fn authorization(headers: &HeaderMap) -> Result<Option<&HeaderValue>, AuthError> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    match (fields.next(), fields.next()) {
        (field, None) => Ok(field),
        (_, Some(_)) => Err(AuthError::Repeated),
    }
}

/// The token in an `Authorization` field (RFC 6750, section 2.1).
///
/// # Errors
/// If there is none.
pub fn bearer(field: Option<&HeaderValue>) -> Result<&str, AuthError> {
    let field = field.ok_or(AuthError::Missing)?;
    let text = field.to_str().map_err(|_not_ascii| AuthError::Malformed)?;
    match text.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_start()),
        _ => Err(AuthError::Missing),
    }
}

fn parse_json<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, AuthError> {
    serde_json::from_slice(&decode(part)?).map_err(|_not_shown| AuthError::Malformed)
}

fn decode(part: &str) -> Result<Vec<u8>, AuthError> {
    BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_not_shown| AuthError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_authorization_field_at_most() {
        let mut headers = HeaderMap::new();
        assert_eq!(authorization(&headers), Ok(None));
        let field = HeaderValue::from_static("Bearer a");
        headers.append(AUTHORIZATION, field.clone());
        assert_eq!(authorization(&headers), Ok(Some(&field)));
        headers.append(AUTHORIZATION, field.clone());
        assert_eq!(authorization(&headers), Err(AuthError::Repeated));
    }
}
