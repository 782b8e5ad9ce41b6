//! `test` blocks: what they give and expect, and whether the policy does it.
//!
//! A test is decided by the same function as a request. `never` is proven instead: for every request
//! that the givens leave open, whatever the state of the regions that they do not mention.

mod expected;
mod given;
mod never;
mod read;
mod run;
mod timeline;

pub(crate) use read::read_all;
pub(crate) use run::Runner;

#[cfg(test)]
mod tests;
