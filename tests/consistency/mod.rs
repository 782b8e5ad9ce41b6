//! The proof: clients write and read registers through several gateways while real faults come and
//! go, and a judge looks for an answer that breaks a promise.
//!
//! A register holds a unique value, and a version that its row counts. So an answer shows exactly
//! which write it contains, and which of two writes came later.

mod history;
mod judge;
mod registers;
mod wall_clock;
mod post;
mod arena;
mod edge;
mod client;
mod promotion;
mod fault;
mod report;
mod run;
mod proof;
