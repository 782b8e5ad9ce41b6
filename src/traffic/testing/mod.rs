//! `test` blocks: their givens and expectations, and whether the policy meets them.
//!
//! A test is decided by the same function as a request. `never` is proven instead: for every
//! request that matches the givens, whatever the state of the regions that they do not mention.

mod expected;
mod given;
mod never;
mod read;
mod run;
mod timeline;

pub(crate) use read::read_all;
pub(crate) use run::Runner;

#[cfg(test)]
mod proofs;
#[cfg(test)]
mod tests;
