//! The locations of clients and regions.

mod aws;
mod continents;
mod country;
mod point;

pub use aws::aws_place;
pub use continents::{Continent, NotAContinent, is_assigned};
pub use country::{Country, CountrySet, NotACountry};
pub use point::GeoPoint;
