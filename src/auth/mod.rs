//! Who is asking: JWT verification.
//!
//! A [`Verifier`] turns an `Authorization` field into [`Claims`]. Which algorithm is accepted is a
//! property of the key, never of the token alone (RFC 8725, section 3.1). Signatures are checked
//! by ring. The JOSE grammar around them is read here, since the `jsonwebtoken` crate without its
//! bundled cryptography needs a process-wide provider that panics when it is missing, reads the
//! clock by itself, and lets `crit` and an array in `iss` pass. Deliberately absent: encrypted
//! tokens, embedded keys (`jwk`, `jku`, `x5c` are not read), and roles: what a claim permits is
//! for the endpoint's SQL to say.

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
pub use error::AuthError;
pub use mint::mint;
pub use source::SetupError;
pub use token::bearer;
pub use verifier::Verifier;
