//! The stack every public request passes, in order.
//!
//! 1. `observe`: request id, timing, the access line, metrics, the bodies of problems;
//! 2. panics become `internal` problems;
//! 3. `rate_limit`: the budget that the client has on the path's policy row;
//! 4. `serve`: decide, authenticate, read the body, ask the nodes until `request_deadline`, while there
//!    is room for one more; `cached` instead of the last two where the answer may come from memory.
//!
//! Probes pass only the first two: they are answered from memory. A fresh stored answer to a request
//! that states nothing passes none of them: see `hit`.

mod answer;
mod ask;
mod attempt;
mod go_again;
mod hedge;
mod body;
mod cache_note;
mod cached;
mod decide;
mod decision_counters;
mod fetch;
mod forward;
mod header_text;
mod hit;
mod observe;
mod rate_limit;
mod public;
mod request_id;
mod origin;
mod outcome;
mod proof;
mod places;
mod run;
mod serve;
mod services;
mod shed;
mod spill;
mod step;
mod suspicion;

pub use cached::Landing;
pub use decide::{Reached, Uncached};
pub use decision_counters::DecisionCounters;
pub use forward::Pseudonym;
pub use origin::Origin;
pub use public::{PROBE_PATHS, Public};
pub use request_id::request_id;
pub use services::Services;
pub use shed::Shedding;
pub use spill::Spill;
pub use suspicion::Suspicion;
