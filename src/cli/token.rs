//! `tidegate token`: one JWT for development.

use std::io::Write;
use std::time::SystemTime;

use super::Exit;
use super::arguments::TokenCommand;
use crate::auth;
use crate::config::{AuthConfig, Environment};

/// Prints a JWT that a gateway with the same `AUTH_*` variables accepts.
pub(super) fn token(command: &TokenCommand, environment: &Environment) -> Result<(), Exit> {
    let config = AuthConfig::resolve(environment)?;
    let secret = config.keys.hs256_secret();
    let secret = secret
        .ok_or_else(|| Exit::unusable("AUTH_JWT_SECRET: is required: tokens are signed with it"))?;
    let (audience, issuer) = (config.audience.as_deref(), config.issuer.as_deref());
    let token = auth::mint(
        secret,
        &command.sub,
        command.ttl,
        audience,
        issuer,
        SystemTime::now(),
    );
    writeln!(std::io::stdout(), "{token}").map_err(Exit::failed)
}
