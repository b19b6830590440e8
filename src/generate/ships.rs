//! How ships move: along lanes between ports, along coasts, over fishing grounds, or not at all.
//!
//! Lanes and ports are embedded (`geography/make.mjs` derives the lanes). It knows positions, speeds and headings, not the columns of AIS.

use std::sync::LazyLock;

use super::land::is_land;
use super::places::{KM_PER_DEGREE, PLACES};
use super::random::{Random, Weighted};

const KM_PER_HOUR_PER_KNOT: f64 = 1.852;

/// What a ship does for a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Lane,
    Coast,
    Fishing,
    Moored,
}

/// Where a ship is and how it moves. Degrees; `course` clockwise from north.
#[derive(Clone, Copy, Debug)]
pub struct Fix {
    pub lon: f64,
    pub lat: f64,
    pub knots: f64,
    pub course: f64,
}

/// A ship's movement, advanced from report to report.
pub enum Voyage {
    Lane { lane: &'static Lane, at_km: f64, knots: f64, aside_km: f64, forward: f64 },
    /// Wandering with a heading that turns slowly and away from land.
    Free { fix: Fix, turn: f64, swing: f64 },
    Moored { fix: Fix },
}

impl Voyage {
    /// A voyage of this kind. `home` fixes what lasts longer than a day: the berth of a moored ship.
    pub fn start(way: Way, home: &mut Random, random: &mut Random) -> Voyage {
        match way {
            Way::Lane => {
                let lane = &SEA.lanes[SEA.lanes_by_traffic.pick(random)];
                let forward = if random.chance(0.5) { 1.0 } else { -1.0 };
                // Ships keep to the right of a lane and spread with the room that there is.
                let aside_km = 3.0 + random.normal().abs() * 9.0;
                Voyage::Lane { lane, at_km: random.uniform() * lane.length_km(), knots: (random.normal() * 3.0 + 13.0).clamp(6.0, 22.0), aside_km, forward }
            }
            Way::Coast => {
                let (lon, lat) = off_the_coast(random);
                let course = random.between(0.0, 360.0);
                let fix = Fix { lon, lat, knots: random.log_normal(8.0, 0.4).min(30.0), course };
                Voyage::Free { fix, turn: if random.chance(0.5) { 1.0 } else { -1.0 }, swing: 4.0 }.adrift(random.between(0.0, 12.0))
            }
            Way::Fishing => {
                let (lon, lat) = fishing_ground(random);
                let fix = Fix { lon, lat, knots: random.between(2.0, 5.5), course: random.between(0.0, 360.0) };
                Voyage::Free { fix, turn: if random.chance(0.5) { 1.0 } else { -1.0 }, swing: 25.0 }
            }
            Way::Moored => {
                let (lon, lat) = berth(home);
                Voyage::Moored { fix: Fix { lon, lat, knots: 0.0, course: home.between(0.0, 360.0) } }
            }
        }
    }

    /// Where the ship is `seconds` later.
    pub fn advance(&mut self, seconds: f64, random: &mut Random) -> Fix {
        match self {
            Voyage::Lane { lane, at_km, knots, aside_km, forward } => {
                *at_km += *forward * *knots * KM_PER_HOUR_PER_KNOT * seconds / 3600.0;
                // At the end of the lane the ship turns round: the next voyage.
                if *at_km < 0.0 || *at_km > lane.length_km() {
                    *forward = -*forward;
                    *at_km = at_km.clamp(0.0, lane.length_km());
                }
                lane.fix(*at_km, *forward, *knots + random.normal() * 0.15, *aside_km)
            }
            Voyage::Free { fix, turn, swing } => {
                // Long gaps are sailed in short legs, each of which sees the coast ahead.
                let legs = (seconds / 240.0).ceil().clamp(1.0, 200.0);
                for _ in 0..legs as usize {
                    let km = fix.knots * KM_PER_HOUR_PER_KNOT * seconds / legs / 3600.0;
                    fix.course += random.normal() * *swing * (seconds / legs / 70.0).sqrt().min(2.5);
                    // Turning by 25 degrees at most 14 times looks all round; a ship walled in stays.
                    let ahead = (0..14).find_map(|_| {
                        let (lon, lat) = moved(fix.lon, fix.lat, fix.course, km);
                        let (far_lon, far_lat) = moved(fix.lon, fix.lat, fix.course, km + 4.0);
                        let free = lat.abs() < 78.0 && !is_land(lon, lat) && !is_land(far_lon, far_lat);
                        fix.course += if free { 0.0 } else { 25.0 * *turn };
                        free.then_some((lon, lat))
                    });
                    (fix.lon, fix.lat) = ahead.unwrap_or((fix.lon, fix.lat));
                }
                Fix { course: fix.course.rem_euclid(360.0), ..*fix }
            }
            Voyage::Moored { fix } => {
                // A satellite fix wanders by a few metres at the berth.
                let (dx, dy) = (random.normal() * 2e-5, random.normal() * 2e-5);
                let knots = if random.chance(0.06) { 0.1 } else { 0.0 };
                Fix { lon: fix.lon + dx, lat: fix.lat + dy, knots, course: fix.course + random.normal() * 20.0 }
            }
        }
    }

    /// The same ship some hours on, so that coastal ships spread along the coast instead of starting all at harbours.
    fn adrift(mut self, hours: f64) -> Voyage {
        let mut random = Random::of(hours.to_bits(), 0);
        for _ in 0..(hours * 4.0) as usize {
            self.advance(900.0, &mut random);
        }
        self
    }
}

fn moved(lon: f64, lat: f64, course: f64, km: f64) -> (f64, f64) {
    let (sin, cos) = course.to_radians().sin_cos();
    (lon + km * sin / (KM_PER_DEGREE * lat.to_radians().cos().max(0.1)), lat + km * cos / KM_PER_DEGREE)
}

/// A polyline over the sea, with the distance from its start to each corner.
pub struct Lane {
    corners: Vec<(f64, f64)>,
    km: Vec<f64>,
}

impl Lane {
    fn new(corners: Vec<(f64, f64)>) -> Lane {
        let mut total = 0.0;
        let mut km = vec![0.0];
        for pair in corners.windows(2) {
            let dx = (pair[1].0 - pair[0].0) * ((pair[0].1 + pair[1].1) / 2.0).to_radians().cos();
            total += dx.hypot(pair[1].1 - pair[0].1) * KM_PER_DEGREE;
            km.push(total);
        }
        Lane { corners, km }
    }

    fn length_km(&self) -> f64 {
        self.km[self.km.len() - 1]
    }

    fn fix(&self, at_km: f64, forward: f64, knots: f64, aside_km: f64) -> Fix {
        let leg = self.km.partition_point(|&km| km < at_km).clamp(1, self.km.len() - 1);
        let (from, to) = (self.corners[leg - 1], self.corners[leg]);
        let t = (at_km - self.km[leg - 1]) / (self.km[leg] - self.km[leg - 1]).max(1e-9);
        let (lon, lat) = (from.0 + (to.0 - from.0) * t, from.1 + (to.1 - from.1) * t);
        let east = (to.0 - from.0) * lat.to_radians().cos() * forward;
        let course = east.atan2((to.1 - from.1) * forward).to_degrees().rem_euclid(360.0);
        // Near ports, and where the side would be ashore, ships follow the lane more closely.
        let from_end_km = at_km.min(self.length_km() - at_km);
        let aside = aside_km * (from_end_km / 150.0).clamp(0.05, 1.0);
        let beside = [aside, aside * 0.3, 0.0].into_iter().map(|aside| moved(lon, lat, course + 90.0, aside));
        let (lon, lat) = beside.into_iter().find(|&(lon, lat)| !is_land(lon, lat)).unwrap_or((lon, lat));
        Fix { lon, lat, knots: knots.max(0.1), course }
    }
}

struct Sea {
    lanes: Vec<Lane>,
    lanes_by_traffic: Weighted,
    ports: Vec<(f64, f64)>,
    ports_by_size: Weighted,
    /// Settlements within some 40 km of the sea.
    harbours: Vec<(f64, f64)>,
    harbours_by_size: Weighted,
    grounds_by_size: Weighted,
}

static SEA: LazyLock<Sea> = LazyLock::new(|| {
    let (traffic, lanes): (Vec<f64>, Vec<Lane>) =
        include_str!("geography/lanes.txt").lines().map(|line| lane(line).expect("every embedded lane parses, and a test reads them")).unzip();
    let (sizes, ports): (Vec<f64>, Vec<(f64, f64)>) = include_str!("geography/ports.csv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| port(line).expect("every embedded port parses, and a test reads them"))
        .unzip();
    let coastal = PLACES.places.iter().filter(|place| near_sea(place.lon, place.lat));
    let (harbour_sizes, harbours): (Vec<f64>, Vec<(f64, f64)>) =
        coastal.map(|place| (place.population.powf(0.35) * wealth(place.mcc), (place.lon, place.lat))).unzip();
    // A lane carries its pull, and its ships are on it for as long as it is.
    let lanes_by_traffic = Weighted::new(traffic.iter().zip(&lanes).map(|(traffic, lane)| traffic.powf(0.8) * lane.length_km().powf(0.75)));
    Sea {
        lanes_by_traffic,
        lanes,
        ports_by_size: Weighted::new(sizes.iter().map(|size| size.powf(0.8))),
        ports,
        harbours_by_size: Weighted::new(harbour_sizes),
        harbours,
        grounds_by_size: Weighted::new(GROUNDS.iter().map(|ground| ground.4)),
    }
});

fn lane(line: &str) -> Option<(f64, Lane)> {
    let (weight, corners) = line.split_once(' ')?;
    let corner = |text: &str| {
        let (lon, lat) = text.split_once(',')?;
        Some((lon.parse().ok()?, lat.parse().ok()?))
    };
    Some((weight.parse().ok()?, Lane::new(corners.split(' ').map(corner).collect::<Option<_>>()?)))
}

fn port(line: &str) -> Option<(f64, (f64, f64))> {
    let mut numbers = line.split(',').skip(1).map(|field| field.parse::<f64>().ok());
    let (lon, lat, weight) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some((weight, (lon, lat)))
}

/// How many boats carry a transponder, by region of the mobile country code (our guess).
fn wealth(mcc: u16) -> f64 {
    match mcc {
        200..=299 => 2.0,
        300..=319 | 330 => 2.0,
        440..=469 => 1.5,
        505 | 530 => 1.2,
        600..=699 => 0.2,
        _ => 0.5,
    }
}

fn near_sea(lon: f64, lat: f64) -> bool {
    (0..16).any(|i| {
        let (lon, lat) = moved(lon, lat, f64::from(i % 8) * 45.0, if i < 8 { 15.0 } else { 35.0 });
        !is_land(lon, lat)
    })
}

fn off_the_coast(random: &mut Random) -> (f64, f64) {
    loop {
        let (lon, lat) = SEA.harbours[SEA.harbours_by_size.pick(random)];
        let near = (0..6).map(|_| moved(lon, lat, random.between(0.0, 360.0), 8.0 + random.exponential() * 22.0)).find(|&(lon, lat)| !is_land(lon, lat));
        if let Some(position) = near {
            return position;
        }
    }
}

/// A quay or anchorage: ports have a few basins, each with ships side by side; small harbours have one.
fn berth(home: &mut Random) -> (f64, f64) {
    if home.chance(0.55) {
        let port = SEA.ports_by_size.pick(home);
        let (lon, lat) = SEA.ports[port];
        let basin = &mut Random::of(port as u64, home.below(7));
        let (basin_lon, basin_lat) = moved(lon, lat, basin.between(0.0, 360.0), basin.exponential() * 6.0);
        // Berths lie along the quay, anchorages scatter.
        let (along, across) = if basin.chance(0.7) { (0.9, 0.03) } else { (2.5, 2.5) };
        let quay = basin.between(0.0, 360.0);
        let (lon, lat) = moved(basin_lon, basin_lat, quay, home.normal() * along);
        moved(lon, lat, quay + 90.0, home.normal() * across)
    } else {
        let (lon, lat) = SEA.harbours[SEA.harbours_by_size.pick(home)];
        let wet = (0..24).map(|i| moved(lon, lat, f64::from(i % 8) * 45.0, f64::from(i / 8) * 14.0 + 4.0)).find(|&(lon, lat)| !is_land(lon, lat));
        let (lon, lat) = wet.unwrap_or((lon, lat));
        moved(lon, lat, home.between(0.0, 360.0), home.exponential() * 0.6)
    }
}

fn fishing_ground(random: &mut Random) -> (f64, f64) {
    loop {
        let (lon, lat, lon_spread, lat_spread, _) = GROUNDS[SEA.grounds_by_size.pick(random)];
        let (lon, lat) = (lon + random.normal() * lon_spread, lat + random.normal() * lat_spread);
        if !is_land(lon, lat) {
            return (lon, lat);
        }
    }
}

/// Fishing grounds: lon, lat, spread of each in degrees, weight. From general knowledge.
const GROUNDS: [(f64, f64, f64, f64, f64); 34] = [
    (3.0, 55.0, 1.8, 1.0, 6.0),
    (1.5, 58.5, 2.0, 1.2, 4.0),
    (-6.0, 49.5, 2.0, 0.9, 5.0),
    (-4.0, 46.5, 1.4, 1.2, 3.0),
    (-9.2, 41.5, 0.4, 2.0, 3.0),
    (6.5, 63.0, 2.0, 1.5, 3.0),
    (15.0, 69.0, 4.0, 1.2, 4.0),
    (35.0, 72.0, 7.0, 1.6, 4.0),
    (-22.0, 65.0, 3.5, 1.2, 3.0),
    (17.0, 56.0, 2.5, 1.0, 3.0),
    (15.0, 43.5, 1.0, 1.0, 3.0),
    (1.5, 40.5, 0.9, 0.8, 2.0),
    (11.5, 35.5, 1.6, 1.2, 2.0),
    (32.0, 43.8, 4.0, 0.8, 2.0),
    (-17.5, 20.0, 0.7, 3.0, 4.0),
    (-10.0, 6.5, 4.0, 1.2, 2.0),
    (14.0, -22.0, 0.8, 4.0, 2.0),
    (20.0, -35.5, 2.0, 0.6, 2.0),
    (-62.0, -45.0, 1.8, 3.0, 4.0),
    (-60.0, -51.0, 2.0, 1.0, 2.0),
    (-79.5, -9.0, 1.2, 3.5, 4.0),
    (-74.0, -38.0, 0.6, 3.0, 2.0),
    (-68.0, 42.5, 1.2, 0.9, 4.0),
    (-51.0, 45.0, 2.2, 1.3, 3.0),
    (-91.0, 28.5, 2.5, 0.4, 3.0),
    (-125.0, 45.5, 0.5, 2.5, 2.0),
    (-152.0, 57.0, 3.5, 1.0, 2.0),
    (-170.0, 56.5, 4.5, 1.4, 3.0),
    (152.0, 55.0, 4.0, 2.0, 2.0),
    (124.0, 30.5, 1.8, 2.5, 10.0),
    (123.0, 36.0, 1.0, 1.5, 6.0),
    (112.0, 20.0, 2.5, 0.9, 4.0),
    (71.5, 19.5, 0.9, 2.0, 3.0),
    (176.0, -40.0, 3.0, 3.0, 2.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_ships_are_at_sea() {
        for (way, share_min) in [(Way::Lane, 0.97), (Way::Coast, 0.999), (Way::Fishing, 0.999)] {
            let (mut wet, mut all) = (0, 0);
            for ship in 0..400 {
                let mut random = Random::of(5, ship);
                let mut voyage = Voyage::start(way, &mut Random::of(6, ship), &mut random);
                for _ in 0..20 {
                    let fix = voyage.advance(600.0, &mut random);
                    all += 1;
                    wet += u32::from(!is_land(fix.lon, fix.lat));
                }
            }
            let share = f64::from(wet) / f64::from(all);
            assert!(share >= share_min, "{way:?}: {share}");
        }
    }

    #[test]
    fn a_ship_covers_the_distance_of_its_speed() {
        let mut random = Random::of(5, 1);
        let mut voyage = Voyage::start(Way::Lane, &mut Random::of(6, 1), &mut random);
        let before = voyage.advance(60.0, &mut random);
        let after = voyage.advance(60.0, &mut random);
        let dx = (after.lon - before.lon) * before.lat.to_radians().cos();
        let km = dx.hypot(after.lat - before.lat) * KM_PER_DEGREE;
        let expected_km = after.knots * KM_PER_HOUR_PER_KNOT / 60.0;
        assert!((km - expected_km).abs() < 0.3 * expected_km, "{km} {expected_km}");
    }
}
