//! The traffic policy: which region serves a request, decided the same way on every gateway.
//!
//! Pure: no clock, no lock, no socket. What depends on time comes in as `now` or as masks.

pub mod place;
pub mod hash;
pub mod plan;
pub mod facts;
pub mod health;
pub mod receipt;
pub mod decide;

#[cfg(test)]
mod random;
#[cfg(test)]
mod testing;
