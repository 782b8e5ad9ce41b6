//! Tests through the verifier.

mod issuer;
mod secret;
mod key_set;

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderValue;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const HOUR: Duration = Duration::from_secs(3600);

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn assemble(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!(
        "{}.{}",
        encode(header.to_string()),
        encode(claims.to_string())
    );
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

fn hmac_sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    ring::hmac::sign(&key, message).as_ref().to_vec()
}

fn claims() -> Value {
    json!({ "sub": "alice", "exp": 4_102_444_800_u64 })
}

fn bearer(token: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("Bearer {token}")).unwrap()
}

fn verifier(keys: KeySource) -> Verifier {
    Verifier::new(&AuthConfig {
        keys,
        audience: None,
        issuer: None,
    })
    .unwrap()
}

fn with_secret() -> Verifier {
    let secret = String::from_utf8(SECRET.to_vec()).unwrap();
    verifier(KeySource::Hs256(SecretString::from(secret)))
}

async fn verify(verifier: &Verifier, token: &str) -> Result<Claims, AuthError> {
    verifier.verify(Some(&bearer(token))).await
}

fn minted(now: SystemTime) -> String {
    mint(SECRET, "alice", HOUR, None, None, now)
}
