//! The compiled plan: the content of a traffic policy, in the form that decisions are made from.
//!
//! The language's compiler produces it; nothing here knows the syntax.

mod clause;
mod compiled;
mod condition;
mod index;
mod places;
mod policy;
mod region;
mod text;
mod window;

pub use crate::place::{Country, CountrySet};
pub use clause::{
    Clauses, Else, Join, Judgement, Leave, Measure, Measures, Quantity, Retry, Return,
};
pub use compiled::{Plan, PlanError, Sources};
pub use condition::Condition;
pub use policy::{AffinityKey, POLICIES_MAX, Policy, Tier};
pub use region::{REGIONS_MAX, Region, RegionIndex, RegionMask};
pub(crate) use text::Percent;
pub use window::{OpenWindows, Period, WINDOWS_MAX, Window, WindowEffect};
