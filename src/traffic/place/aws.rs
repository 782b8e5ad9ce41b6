//! The locations of AWS's regions: the city that each is named after, or its data centres.
//!
//! To a tenth of a degree, which suffices to find the nearest region.

use crate::place::GeoPoint;

/// Names, latitudes and longitudes, in the order of the names.
const REGIONS: [(&str, f64, f64); 39] = [
    ("af-south-1", -33.9, 18.4),
    ("ap-east-1", 22.3, 114.2),
    ("ap-east-2", 25.0, 121.6),
    ("ap-northeast-1", 35.7, 139.7),
    ("ap-northeast-2", 37.6, 127.0),
    ("ap-northeast-3", 34.7, 135.5),
    ("ap-south-1", 19.1, 72.9),
    ("ap-south-2", 17.4, 78.5),
    ("ap-southeast-1", 1.4, 103.8),
    ("ap-southeast-2", -33.9, 151.2),
    ("ap-southeast-3", -6.2, 106.8),
    ("ap-southeast-4", -37.8, 145.0),
    ("ap-southeast-5", 3.1, 101.7),
    ("ap-southeast-6", -36.8, 174.8),
    ("ap-southeast-7", 13.8, 100.5),
    ("ca-central-1", 45.5, -73.6),
    ("ca-west-1", 51.0, -114.1),
    ("cn-north-1", 39.9, 116.4),
    ("cn-northwest-1", 37.5, 105.2),
    ("eu-central-1", 50.1, 8.7),
    ("eu-central-2", 47.4, 8.5),
    ("eu-north-1", 59.3, 18.1),
    ("eu-south-1", 45.5, 9.2),
    ("eu-south-2", 41.6, -0.9),
    ("eu-west-1", 53.3, -6.3),
    ("eu-west-2", 51.5, -0.1),
    ("eu-west-3", 48.9, 2.4),
    ("eusc-de-east-1", 52.4, 12.5),
    ("il-central-1", 32.1, 34.8),
    ("me-central-1", 25.2, 55.3),
    ("me-south-1", 26.2, 50.6),
    ("mx-central-1", 20.6, -100.4),
    ("sa-east-1", -23.6, -46.6),
    ("us-east-1", 39.0, -77.5),
    ("us-east-2", 40.0, -83.0),
    ("us-gov-east-1", 40.0, -83.0),
    ("us-gov-west-1", 45.8, -119.7),
    ("us-west-1", 37.4, -122.0),
    ("us-west-2", 45.8, -119.7),
];

/// Returns the built-in location of an AWS region.
pub fn aws_place(region: &str) -> Option<GeoPoint> {
    let found = REGIONS.binary_search_by_key(&region, |(name, ..)| name);
    let (_, latitude, longitude) = REGIONS[found.ok()?];
    GeoPoint::new(latitude, longitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_region_is_found() {
        assert!(REGIONS.is_sorted_by_key(|(name, ..)| name));
        for (name, ..) in REGIONS {
            assert!(aws_place(name).is_some(), "{name}");
        }
        assert_eq!(aws_place("eu-nowhere-1"), None);
    }

    #[test]
    fn a_client_in_a_city_is_nearest_to_the_region_there() {
        let cities = [
            (48.85, 2.35, "eu-west-3"),
            (40.7, -74.0, "us-east-1"),
            (-6.2, 106.8, "ap-southeast-3"),
            (-37.0, 174.9, "ap-southeast-6"),
            (-1.3, 36.8, "me-south-1"),
            (21.3, -157.9, "us-west-1"),
        ];
        for (latitude, longitude, nearest) in cities {
            let client = GeoPoint::new(latitude, longitude).unwrap();
            let distance = |name: &&str| aws_place(name).unwrap().distance_km(&client);
            let names = REGIONS.map(|(name, ..)| name);
            let found = names
                .iter()
                .min_by(|a, b| distance(a).total_cmp(&distance(b)));
            assert_eq!(found, Some(&nearest));
        }
    }
}
