//! Which nodes can honour a decision, in which order, and why: pure.
//!
//! Deliberately absent: latency averages, breakers and hysteresis (they are in the ranking, which
//! steering makes), and every kind of I/O. The same decision, views, ranking and instant give the
//! same plan in every process.

mod plan;
mod reason;

pub use plan::{NodeView, Plan, Step, plan};
pub use reason::Reason;
