//! Mints development tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

/// Signs an HS256 token for a subject, valid from `now` for `ttl`, to the second.
#[must_use]
pub fn mint(
    secret: &[u8],
    subject: &str,
    ttl: Duration,
    audience: Option<&str>,
    issuer: Option<&str>,
    now: SystemTime,
) -> String {
    mint_with_scope(secret, (subject, None), ttl, audience, issuer, now)
}

/// The same for a subject with a scope (RFC 8693, section 4.2).
#[must_use]
pub fn mint_with_scope(
    secret: &[u8],
    (subject, scope): (&str, Option<&str>),
    ttl: Duration,
    audience: Option<&str>,
    issuer: Option<&str>,
    now: SystemTime,
) -> String {
    let issued = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let expires = issued.saturating_add(ttl).as_secs();
    let mut claims = json!({ "sub": subject, "iat": issued.as_secs(), "exp": expires });
    if let Some(scope) = scope {
        claims["scope"] = scope.into();
    }
    if let Some(audience) = audience {
        claims["aud"] = audience.into();
    }
    if let Some(issuer) = issuer {
        claims["iss"] = issuer.into();
    }
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn encode(part: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part.to_string())
}
