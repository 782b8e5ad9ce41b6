//! Which of several nodes that could serve is tried first: pure.
//!
//! One selector serves every kind of endpoint. It learns from reports and makes a [`Ranking`],
//! which can be read without it ([`SharedSelector`]). `now` is always an argument, and random
//! numbers come from a seed; only [`announce`] is a task, and only [`Race`] awaits. Deliberately
//! absent: what a node can honour (routing), and the sending of requests and checks.

mod settings;
mod latency;
mod breaker;
mod retry_budget;
mod order;
mod ranking;
mod selector;
mod shared;
mod hedge_delay;
mod second_tries;
mod race;
mod announce;
#[cfg(test)]
mod simulation;

pub use announce::{Candidates, announce};
pub use breaker::BreakerState;
pub use hedge_delay::HedgeDelay;
pub use latency::RecentLatencies;
pub use race::{Entrant, Entrants, Race, RaceEvent, Turn, Won};
pub use ranking::{Choice, Ranked, Ranking, Standing};
pub use retry_budget::RetryBudget;
pub use second_tries::SecondTries;
pub use selector::{AttemptOutcome, Selector};
pub use settings::SteeringSettings;
pub use shared::SharedSelector;
