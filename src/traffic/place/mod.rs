//! Where clients and regions are.

mod aws;
mod continents;
mod nearest;
mod point;

pub use aws::aws_place;
pub use continents::{Continent, NotAContinent};
pub use point::Place;

pub(crate) use nearest::Places;
