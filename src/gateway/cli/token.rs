//! `tidegate token`: one JWT for development, or the parts of a consistency token.

use std::io::Write;
use std::time::{Duration, SystemTime};

use super::Exit;
use super::arguments::{TokenAction, TokenCommand};
use crate::auth;
use crate::gateway::config::{auth_config, token_keys};
use tidegate_model::ConfigError;
use tidegate_model::Environment;
use tidegate_model::{TokenKeys, TokenParts};

/// Mints or inspects, and prints the result.
pub(super) fn token(command: TokenCommand, environment: &Environment) -> Result<(), Exit> {
    let text = match (command.action, command.sub) {
        (Some(TokenAction::Inspect { token }), _) => inspect(&token, environment)?,
        (None, Some(sub)) => {
            let scope = command.scope.as_deref();
            mint((&sub, scope), command.ttl, environment)?
        }
        (None, None) => return Err(Exit::unusable("--sub: is required")),
    };
    writeln!(std::io::stdout(), "{text}").map_err(Exit::failed)
}

/// Makes a JWT that a gateway with the same `AUTH_*` variables accepts.
fn mint(
    subject: (&str, Option<&str>),
    ttl: Duration,
    environment: &Environment,
) -> Result<String, Exit> {
    let config = auth_config(environment)?;
    let secret = config.keys.hs256_secret();
    let secret = secret
        .ok_or_else(|| Exit::unusable("AUTH_JWT_SECRET: is required: tokens are signed with it"))?;
    let (audience, issuer) = (config.audience.as_deref(), config.issuer.as_deref());
    let now = SystemTime::now();
    Ok(auth::mint_with_scope(
        secret, subject, ttl, audience, issuer, now,
    ))
}

/// Describes a consistency token, one part per line.
fn inspect(token: &str, environment: &Environment) -> Result<String, Exit> {
    let keys = token_keys(environment)?;
    let TokenParts { version, position } =
        TokenParts::read(token).map_err(|error| ConfigError::variable("TOKEN", token, error))?;
    let signature = keys.map_or("not checked: TOKEN_SECRET is not set", |keys| {
        signature(token, &keys)
    });
    let (system, timeline, lsn) = (position.system, position.timeline, position.lsn);
    Ok(format!(
        "version    {version}\n\
         system     {system}\n\
         timeline   {timeline}\n\
         lsn        {lsn}\n\
         signature  {signature}"
    ))
}

fn signature(token: &str, keys: &TokenKeys) -> &'static str {
    match keys.verify(token) {
        Ok(_) => "verified by TOKEN_SECRET",
        Err(_) => "not signed by a key of TOKEN_SECRET",
    }
}
