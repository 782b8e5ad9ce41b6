//! Authentication of clients: JWT verification.
//!
//! A [`Verifier`] turns an `Authorization` field into [`Claims`]. Which algorithm is accepted is a
//! property of the key, never of the token alone (RFC 8725, section 3.1). Signatures are checked
//! by ring. The JOSE grammar around them is read here, since the `jsonwebtoken` crate without its
//! bundled cryptography needs a process-wide provider that panics when it is missing, reads the
//! clock by itself, and accepts `crit` and an array in `iss`. Deliberately absent: encrypted
//! tokens, embedded keys (`jwk`, `jku`, `x5c` are not read), and roles: the endpoint's SQL decides
//! what a claim permits.

mod config;
mod error;
mod key;
mod key_set;
mod token;
mod claims;
mod source;
mod jwks;
mod verifier;
mod mint;
#[cfg(test)]
mod tests;

pub use claims::Claims;
pub use config::{AuthConfig, JWT_AUDIENCE, JWT_ISSUER, JWT_KEY_SET, JWT_SECRET, KeySource};
pub use error::AuthError;
pub use mint::{mint, mint_with_scope};
pub use source::AuthSetupError;
pub use token::{authorization, bearer};
pub use verifier::Verifier;
