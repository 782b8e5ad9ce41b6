//! A point on the earth and its distance to another.

/// The earth's mean radius (IUGG).
const EARTH_RADIUS_KM: f64 = 6_371.009;

/// Hundred-thousandths of a degree, about a metre: CloudFront sends no more decimals.
const DEGREE: f64 = 100_000.0;

/// A point on the earth.
///
/// Also stored as a unit vector from the earth's centre: of two places, the one nearer to a third
/// has the greater scalar product with it, so that no decision needs an angle. Computed in software
/// (`libm`), so that it is identical to the last bit everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GeoPoint {
    latitude_e5: i32,
    longitude_e5: i32,
    vector: [f64; 3],
}

impl GeoPoint {
    /// Returns the place of a latitude and a longitude in degrees, if they are valid.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            return None;
        }
        let rounded = |degrees: f64| libm::round(degrees * DEGREE) as i32;
        Some(Self::at(rounded(latitude), rounded(longitude)))
    }

    /// Returns latitude and longitude in hundred-thousandths of a degree.
    pub(crate) fn e5(&self) -> (i32, i32) {
        (self.latitude_e5, self.longitude_e5)
    }

    /// Returns the place of such a pair.
    pub(crate) fn from_e5(latitude: i32, longitude: i32) -> Option<Self> {
        Self::new(f64::from(latitude) / DEGREE, f64::from(longitude) / DEGREE)
    }

    /// Returns the latitude in degrees, to five decimals.
    pub fn latitude(&self) -> f64 {
        f64::from(self.latitude_e5) / DEGREE
    }

    /// Returns the longitude in degrees, to five decimals.
    pub fn longitude(&self) -> f64 {
        f64::from(self.longitude_e5) / DEGREE
    }

    /// Returns the length of the great circle to another place.
    pub fn distance_km(&self, other: &Self) -> f64 {
        let [x, y, z] = self.vector;
        let [u, v, w] = other.vector;
        let cross = [y * w - z * v, z * u - x * w, x * v - y * u];
        let sine = libm::sqrt(cross.iter().map(|part| part * part).sum());
        EARTH_RADIUS_KM * libm::atan2(sine, x * u + y * v + z * w)
    }

    /// Returns the unit vector from the earth's centre.
    pub(crate) fn vector(&self) -> [f64; 3] {
        self.vector
    }

    fn at(latitude_e5: i32, longitude_e5: i32) -> Self {
        let radians = |degrees_e5: i32| (f64::from(degrees_e5) / DEGREE).to_radians();
        let (up, level) = libm::sincos(radians(latitude_e5));
        let (east, ahead) = libm::sincos(radians(longitude_e5));
        Self {
            latitude_e5,
            longitude_e5,
            vector: [level * ahead, level * east, up],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(latitude: f64, longitude: f64) -> GeoPoint {
        GeoPoint::new(latitude, longitude).unwrap()
    }

    #[test]
    fn distances_are_great_circles() {
        let (berlin, dublin, sydney) = (at(52.52, 13.40), at(53.35, -6.26), at(-33.87, 151.21));
        assert!((berlin.distance_km(&dublin) - 1_316.0).abs() < 5.0);
        assert!((berlin.distance_km(&sydney) - 16_094.0).abs() < 20.0);
        assert_eq!(berlin.distance_km(&berlin), 0.0);
    }

    #[test]
    fn the_date_line_and_the_poles_are_no_edges() {
        assert!(at(0.0, 179.9).distance_km(&at(0.0, -179.9)) < 23.0);
        assert!(at(89.9, 0.0).distance_km(&at(89.9, 180.0)) < 23.0);
        assert_eq!(at(0.0, 180.0).distance_km(&at(0.0, -180.0)).round(), 0.0);
    }

    #[test]
    fn nonsense_is_no_place() {
        let cases = [
            (90.1, 0.0),
            (0.0, 180.1),
            (f64::NAN, 0.0),
            (0.0, f64::INFINITY),
        ];
        for (latitude, longitude) in cases {
            assert_eq!(GeoPoint::new(latitude, longitude), None);
        }
    }

    #[test]
    fn a_place_is_the_same_after_it_was_written_with_five_decimals() {
        let place = at(52.123_456_789, -13.987_654_321);
        assert_eq!(at(place.latitude(), place.longitude()), place);
    }
}
