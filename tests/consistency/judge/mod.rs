//! The judge: a history in, broken promises out. It knows no gateway, clock or socket.

mod fate;
mod age;
mod linearizable;
mod session;
mod values;
mod primary;
mod verdict;
#[cfg(test)]
mod tests;

pub(super) use verdict::{Guarantee, Violation, judge};
