//! The locations of clients, resolvers and regions, and the round trips between them.

#[path = "../regions.rs"]
mod regions;

use fastrand::Rng;
use tidegate_traffic::place::{GeoPoint, aws_place};

pub(crate) use regions::REGIONS;

/// Requests a second, all clients together.
pub(crate) const RATE: f64 = 1_000.0;

/// Latitude, longitude and the millions of people in and around some cities.
const CITIES: [(f64, f64, f64); 60] = [
    (35.7, 139.7, 37.0),
    (28.6, 77.2, 33.0),
    (31.2, 121.5, 29.0),
    (23.8, 90.4, 23.0),
    (-23.5, -46.6, 23.0),
    (19.4, -99.1, 22.0),
    (30.0, 31.2, 22.0),
    (39.9, 116.4, 22.0),
    (19.1, 72.9, 21.0),
    (34.7, 135.5, 19.0),
    (24.9, 67.0, 17.0),
    (41.0, 29.0, 16.0),
    (-34.6, -58.4, 15.0),
    (22.6, 88.4, 15.0),
    (6.5, 3.4, 16.0),
    (14.6, 121.0, 15.0),
    (-22.9, -43.2, 14.0),
    (40.7, -74.0, 19.0),
    (34.1, -118.2, 13.0),
    (55.8, 37.6, 13.0),
    (48.9, 2.4, 11.0),
    (51.5, -0.1, 14.0),
    (-6.2, 106.8, 11.0),
    (37.6, 127.0, 10.0),
    (13.8, 100.5, 11.0),
    (17.4, 78.5, 11.0),
    (13.0, 77.6, 14.0),
    (13.1, 80.3, 12.0),
    (10.8, 106.7, 9.0),
    (-12.0, -77.0, 11.0),
    (4.7, -74.1, 11.0),
    (41.9, -87.6, 9.0),
    (22.3, 114.2, 7.5),
    (1.4, 103.8, 6.0),
    (-33.9, 151.2, 5.3),
    (-37.8, 145.0, 5.2),
    (43.7, -79.4, 6.4),
    (45.5, -73.6, 4.3),
    (49.3, -123.1, 2.6),
    (51.0, -114.1, 1.6),
    (52.5, 13.4, 4.5),
    (50.1, 8.7, 2.8),
    (48.1, 11.6, 2.9),
    (47.4, 8.5, 1.4),
    (40.4, -3.7, 6.7),
    (41.4, 2.2, 5.6),
    (41.9, 12.5, 4.3),
    (45.5, 9.2, 4.3),
    (59.3, 18.1, 2.4),
    (52.2, 21.0, 3.1),
    (53.3, -6.3, 2.0),
    (52.4, 4.9, 2.5),
    (32.1, 34.8, 4.2),
    (25.2, 55.3, 3.6),
    (24.7, 46.7, 7.7),
    (-26.2, 28.0, 10.0),
    (-33.9, 18.4, 4.8),
    (-1.3, 36.8, 5.3),
    (47.6, -122.3, 4.0),
    (37.8, -122.4, 4.6),
];

const CLIENTS: usize = 4_000;
const RESOLVERS: usize = 600;

/// Clients whose resolver is somewhere else, so that DNS assumes another location.
const FAR_RESOLVERS: f64 = 0.06;

/// How far around its city a client lives, in degrees.
const SPREAD: f64 = 1.5;

/// Round trip by distance: light in fibre, and half as much again for detours; straighter between
/// regions than to clients.
const CLIENT_MS_PER_KM: f64 = 0.015;
const REGION_MS_PER_KM: f64 = 0.0125;
const CLIENT_MS: f64 = 6.0;
const REGION_MS: f64 = 1.0;

/// Capacity beyond what enters a region when what it is sized for is lost.
const HEADROOM: f64 = 1.5;

/// What three small nodes can do, in requests a second.
const CAPACITY_MIN: f64 = 100.0;

/// A client and the round trips to all regions.
pub(crate) struct Client {
    pub(crate) place: GeoPoint,
    pub(crate) resolver: usize,
    pub(crate) home: usize,
    pub(crate) round_trips: Vec<f64>,
}

/// Everything that does not change.
pub(crate) struct World {
    pub(crate) clients: Vec<Client>,
    /// By resolver: the regions, nearest first.
    pub(crate) resolvers: Vec<Vec<usize>>,
    /// Between regions.
    pub(crate) round_trips: Vec<Vec<f64>>,
    /// By region: all of them, nearest first.
    pub(crate) near: Vec<Vec<usize>>,
    /// By region, in requests a second.
    pub(crate) load: Vec<f64>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let places = REGIONS.map(|name| aws_place(name).expect("a region of AWS"));
        let homes: Vec<_> = (0..RESOLVERS).map(|_| city(&mut random)).collect();
        let resolvers = homes
            .iter()
            .map(|city| nearest_first(&near(*city, &mut random), &places));
        let resolvers: Vec<_> = resolvers.collect();
        let clients = (0..CLIENTS).map(|_| client(&homes, &places, &mut random));
        let clients: Vec<_> = clients.collect();
        let between = |from: &GeoPoint, to: &GeoPoint| {
            if from == to {
                0.0
            } else {
                REGION_MS + from.distance_km(to) * REGION_MS_PER_KM
            }
        };
        let round_trips = places
            .iter()
            .map(|from| places.iter().map(|to| between(from, to)).collect());
        let mut world = Self {
            round_trips: round_trips.collect(),
            near: places
                .iter()
                .map(|place| nearest_first(place, &places))
                .collect(),
            load: vec![0.0; REGIONS.len()],
            clients,
            resolvers,
        };
        let each = RATE / world.clients.len() as f64;
        for client in &world.clients {
            world.load[world.resolvers[client.resolver][0]] += each;
        }
        world
    }

    /// Returns the region that most clients are nearest to, except for some.
    pub(crate) fn busiest(&self, nth: usize) -> usize {
        let mut regions: Vec<_> = (0..REGIONS.len()).collect();
        regions.sort_by(|a, b| self.load[*b].total_cmp(&self.load[*a]));
        regions[nth]
    }

    /// Returns what each region needs when any one, or any two, of the others are lost.
    pub(crate) fn capacity(&self, lost: usize) -> Vec<f64> {
        let each = RATE / self.clients.len() as f64;
        let mut most = self.load.clone();
        for first in 0..REGIONS.len() {
            for second in if lost == 1 {
                first..first + 1
            } else {
                first..REGIONS.len()
            } {
                let mut load = vec![0.0; REGIONS.len()];
                for client in &self.clients {
                    let mut order = self.resolvers[client.resolver].iter();
                    let entry = order.find(|region| ![first, second].contains(*region));
                    load[*entry.unwrap_or(&0)] += each;
                }
                for (most, load) in most.iter_mut().zip(load) {
                    *most = most.max(load);
                }
            }
        }
        let size = |most: f64| (HEADROOM * most).max(CAPACITY_MIN);
        most.into_iter().map(size).collect()
    }
}

fn client(homes: &[usize], places: &[GeoPoint], random: &mut Rng) -> Client {
    let resolver = random.usize(0..homes.len());
    let city = if random.f64() < FAR_RESOLVERS {
        city(random)
    } else {
        homes[resolver]
    };
    let place = near(city, random);
    let slow = 1.0 + random.f64() * 0.4;
    let round_trip =
        |region: &GeoPoint| CLIENT_MS + place.distance_km(region) * CLIENT_MS_PER_KM * slow;
    Client {
        place,
        resolver,
        home: nearest_first(&place, places)[0],
        round_trips: places.iter().map(round_trip).collect(),
    }
}

/// Draws a city by how many live there.
fn city(random: &mut Rng) -> usize {
    let all: f64 = CITIES.iter().map(|(.., people)| people).sum();
    let mut drawn = random.f64() * all;
    let found = CITIES.iter().position(|(.., people)| {
        drawn -= people;
        drawn < 0.0
    });
    found.unwrap_or(0)
}

fn near(city: usize, random: &mut Rng) -> GeoPoint {
    let (latitude, longitude, _) = CITIES[city];
    let mut around = |degrees: f64| degrees + (random.f64() - random.f64()) * SPREAD;
    GeoPoint::new(around(latitude), around(longitude)).expect("no city is at a pole")
}

fn nearest_first(place: &GeoPoint, regions: &[GeoPoint]) -> Vec<usize> {
    let mut order: Vec<_> = (0..regions.len()).collect();
    let distance = |region: &usize| place.distance_km(&regions[*region]);
    order.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    order
}
