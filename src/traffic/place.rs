//! Where clients and regions are.

/// A place on the earth.
///
/// Kept as a vector of length 1 from the earth's centre: of two places the nearer one to a third has
/// the greater scalar product with it, so that no decision needs an angle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    x: f64,
    y: f64,
    z: f64,
}

impl Place {
    /// Returns the place of a latitude and a longitude in degrees, unless they are nonsense.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            return None;
        }
        let (latitude, longitude) = (latitude.to_radians(), longitude.to_radians());
        let (sin, cos) = libm::sincos(latitude);
        let (east, ahead) = libm::sincos(longitude);
        Some(Self {
            x: cos * ahead,
            y: cos * east,
            z: sin,
        })
    }

    /// Returns a number that is greater the nearer the other place is.
    pub(crate) fn nearness(&self, other: &Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }
}
