//! From an `Authorization` field to claims.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;
use secrecy::ExposeSecret;

use super::AuthError;
use super::claims::{Claims, Rules};
use super::jwks::{Jwks, Pace};
use super::key::Key;
use super::source::{AuthSetupError, Source};
use super::token::{Token, bearer};
use super::{AuthConfig, KeySource};

/// Verifies bearer tokens.
#[derive(Debug)]
pub struct Verifier {
    keys: Option<Keys>,
    rules: Rules,
}

#[derive(Debug)]
enum Keys {
    Secret(Arc<Key>),
    Jwks(Jwks),
}

impl Verifier {
    /// Builds a verifier. A key set is not fetched yet, so this succeeds even if its server is
    /// down.
    ///
    /// # Errors
    /// If there is no HTTPS client for the key set, for instance because root certificates are
    /// missing.
    pub fn new(config: &AuthConfig) -> Result<Self, AuthSetupError> {
        Self::with_pace(config, Pace::default())
    }

    pub(super) fn with_pace(config: &AuthConfig, pace: Pace) -> Result<Self, AuthSetupError> {
        let keys = match &config.keys {
            KeySource::None => None,
            KeySource::Hs256(secret) => {
                let key = Key::hmac(secret.expose_secret().as_bytes());
                Some(Keys::Secret(Arc::new(key)))
            }
            KeySource::Jwks(url) => {
                let source = Source::new(url.clone())?;
                Some(Keys::Jwks(Jwks::new(source, pace)))
            }
        };
        let rules = Rules {
            audience: config.audience.clone(),
            issuer: config.issuer.clone(),
        };
        Ok(Self { keys, rules })
    }

    /// Fetches the key set ahead of the first token, if there is one. A failure is logged, and
    /// later requests fetch again.
    pub async fn warm(&self) {
        if let Some(Keys::Jwks(jwks)) = &self.keys {
            jwks.freshen().await;
        }
    }

    /// Verifies the token in an `Authorization` field. Waits for the network, at most 5 s per
    /// fetch, only when the key set is missing, stale or lacks the key. Cancel-safe.
    ///
    /// # Errors
    /// [`AuthError`]; everything except [`AuthError::KeysUnavailable`] is answered with 401.
    pub async fn verify(&self, authorization: Option<&HeaderValue>) -> Result<Claims, AuthError> {
        self.verify_at(authorization, SystemTime::now()).await
    }

    /// Like [`verify`](Self::verify), for a token that must have all `needed` claims: no NULL is
    /// bound in place of a claim that identifies the client.
    ///
    /// # Errors
    /// See [`verify`](Self::verify); also [`AuthError::Claim`].
    pub async fn verify_with(
        &self,
        authorization: Option<&HeaderValue>,
        mut needed: impl Iterator<Item = &str>,
    ) -> Result<Claims, AuthError> {
        let claims = self.verify(authorization).await?;
        match needed.find(|name| claims.text(name).is_none()) {
            Some(missing) => Err(AuthError::Claim(missing.to_owned().into())),
            None => Ok(claims),
        }
    }

    pub(super) async fn verify_at(
        &self,
        authorization: Option<&HeaderValue>,
        now: SystemTime,
    ) -> Result<Claims, AuthError> {
        let keys = self.keys.as_ref().ok_or(AuthError::NotConfigured)?;
        let token = Token::parse(bearer(authorization)?)?;
        let key = match keys {
            Keys::Secret(key) => Arc::clone(key),
            Keys::Jwks(jwks) => jwks.key(token.kid.as_deref(), token.algorithm).await?,
        };
        self.rules.check(token.verify(&key)?, now)
    }
}
