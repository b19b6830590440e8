//! Where people live and drive: cities from a table, made-up towns between and around them, and roads that join them.
//!
//! The same for every seed, so that two runs show one world. It knows nothing of towers or ships.

use std::sync::LazyLock;

use rayon::prelude::*;

use super::land::is_land;
use super::random::{Random, Weighted};

/// Kilometres per degree of latitude.
pub const KM_PER_DEGREE: f64 = 111.2;

/// Enough that Europe and India look settled everywhere, few enough that the network is built in a tenth of a second.
const TOWNS: u64 = 50_000;

pub struct Place {
    pub lon: f64,
    pub lat: f64,
    /// Inhabitants in thousands.
    pub population: f64,
    /// Mobile country code of the country; the first of several.
    pub mcc: u16,
}

pub struct Road {
    from: u32,
    to: u32,
    /// How far the middle lies beside the straight line, as a share of the length.
    bend: f64,
    /// Amplitude of the small windings, degrees.
    winding: f64,
}

pub struct Places {
    pub places: Vec<Place>,
    roads: Vec<Road>,
    by_coverage: Weighted,
    roads_by_coverage: Weighted,
}

/// The one world, built at its first use.
pub static PLACES: LazyLock<Places> = LazyLock::new(Places::build);

impl Places {
    /// A city or town, weighted by how many towers it is likely to have in a crowd-sourced data set.
    pub fn settlement(&self, random: &mut Random) -> &Place {
        &self.places[self.by_coverage.pick(random)]
    }

    /// A position (lon, lat) on a road, and the place that the road belongs to.
    pub fn on_road(&self, random: &mut Random) -> (f64, f64, &Place) {
        let road = &self.roads[self.roads_by_coverage.pick(random)];
        let (from, to) = (&self.places[road.from as usize], &self.places[road.to as usize]);
        let t = random.uniform();
        let (dx, dy) = (to.lon - from.lon, to.lat - from.lat);
        let aside = road.bend * 4.0 * t * (1.0 - t);
        let phase = f64::from(road.from) + f64::from(road.to) * 0.7;
        let length = dx.hypot(dy).max(1e-9);
        // The windings vanish at both ends, where the road meets the next.
        let winding = road.winding * (t * length * 9.0 + phase).sin() * (t * 12.0).min(1.0) * ((1.0 - t) * 12.0).min(1.0);
        let lon = from.lon + dx * t - dy * (aside + winding / length);
        let lat = from.lat + dy * t + dx * (aside + winding / length);
        (lon, lat, if t < 0.5 { from } else { to })
    }

    fn build() -> Places {
        let mut places = cities();
        let count = places.len();
        let neighbours: Vec<Vec<(usize, f64)>> = (0..count).map(|i| nearest_of_all(&places, i, 6)).collect();
        let by_size = Weighted::new(places.iter().map(|city| city.population.powf(0.45) * coverage(city.mcc).powf(0.7)));
        for i in 0..TOWNS {
            if let Some(town) = town(&places[..count], &neighbours, &by_size, &mut Random::of(0x7077, i)) {
                places.push(town);
            }
        }
        let roads = roads(&places, &neighbours);
        let by_coverage = Weighted::new(places.iter().map(|place| place.population.powf(0.76) * coverage(place.mcc)));
        let roads_by_coverage = Weighted::new(roads.iter().map(|road| {
            let (from, to) = (&places[road.from as usize], &places[road.to as usize]);
            let traffic = (from.population * to.population).powf(0.18);
            distance_km(from, to).powf(0.85) * traffic * coverage(from.mcc).powf(0.8)
        }));
        Places { places, roads, by_coverage, roads_by_coverage }
    }
}

/// Distance in kilometres on a plane that is true near both places; good to a few percent over the distances asked for here.
fn distance_km(a: &Place, b: &Place) -> f64 {
    let dx = (a.lon - b.lon) * ((a.lat + b.lat) / 2.0).to_radians().cos();
    dx.hypot(a.lat - b.lat) * KM_PER_DEGREE
}

/// How many towers a data set gathered by volunteers has for each inhabitant, relative to a European country (our guess, by mobile country code).
fn coverage(mcc: u16) -> f64 {
    match mcc {
        262 | 260 | 230 | 204 | 232 => 1.7,
        250 | 255 | 257 | 286 => 0.8,
        310 => 1.5,
        334 | 700..=799 => 0.5,
        404 => 0.45,
        440 | 450 => 0.75,
        460 => 0.18,
        200..=299 => 1.3,
        300..=399 => 0.9,
        505 | 530 => 1.1,
        410 | 412 | 414 | 432 | 467 | 470 => 0.22,
        400..=499 => 0.5,
        500..=599 => 0.45,
        655 | 604 | 605 => 0.4,
        _ => 0.16,
    }
}

fn cities() -> Vec<Place> {
    let text = include_str!("geography/cities.csv");
    let parse = |line: &str| -> Option<Place> {
        let mut fields = line.split(',').skip(1);
        let mut number = || fields.next()?.parse::<f64>().ok();
        Some(Place { lon: number()?, lat: number()?, population: number()?, mcc: number()? as u16 })
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| parse(line).expect("every line of the embedded table parses, and a test reads it"))
        .collect()
}

/// A made-up town: most lie along the way between two neighbouring cities, the others around one.
fn town(cities: &[Place], neighbours: &[Vec<(usize, f64)>], by_size: &Weighted, random: &mut Random) -> Option<Place> {
    // A second and third attempt where the first lands in water; islands and coasts need them.
    (0..3).find_map(|_| {
        let at = by_size.pick(random);
        let city = &cities[at];
        let narrowing = city.lat.to_radians().cos();
        let (lon, lat) = if random.chance(0.55) {
            let &(other, km) = random.one_of(&neighbours[at]);
            let other = &cities[other];
            let t = random.uniform().powf(1.3);
            let aside = random.normal() * 0.22 * km.min(700.0) / KM_PER_DEGREE;
            let bearing = random.between(0.0, std::f64::consts::TAU);
            let (dx, dy) = (aside * bearing.cos() / narrowing, aside * bearing.sin());
            (city.lon + (other.lon - city.lon) * t + dx, city.lat + (other.lat - city.lat) * t + dy)
        } else {
            let reach_km = neighbours[at][2].1.min(450.0) * 0.55;
            let (dx, dy) = (random.normal() * reach_km / KM_PER_DEGREE, random.normal() * reach_km / KM_PER_DEGREE);
            (city.lon + dx / narrowing, city.lat + dy)
        };
        let inside = lat.abs() < 72.0 && lon.abs() < 180.0;
        // Zipf's law between two and three hundred thousand inhabitants.
        let population = (2.5 * (1.0 - random.uniform()).powf(-0.85)).min(280.0);
        (inside && is_land(lon, lat)).then_some(Place { lon, lat, population, mcc: city.mcc })
    })
}

/// Motorways between cities, then a road from every town to its nearest places.
fn roads(places: &[Place], neighbours: &[Vec<(usize, f64)>]) -> Vec<Road> {
    let mut random = Random::of(0x70AD, 0);
    let mut roads = Vec::new();
    let mut join = |from: usize, to: usize| {
        let road = Road { from: from as u32, to: to as u32, bend: random.normal() * 0.08, winding: random.between(0.01, 0.06) };
        roads.push(road);
    };
    for (city, near) in neighbours.iter().enumerate() {
        for &(other, km) in near.iter().take(4) {
            // Not twice where both are among each other's nearest, and not over oceans.
            let twice = other < city && neighbours[other].iter().take(4).any(|&(back, _)| back == city);
            if km < 1100.0 && !twice && is_mostly_land(&places[city], &places[other]) {
                join(city, other);
            }
        }
    }
    let grid = Grid::of(places);
    let towns = neighbours.len()..places.len();
    let near: Vec<_> = towns.clone().into_par_iter().map(|town| grid.nearest(places, town, 3)).collect();
    for (town, near) in towns.zip(near) {
        for (other, _) in near.into_iter().filter(|&(_, km)| km < 120.0) {
            join(town, other);
        }
    }
    roads
}

fn is_mostly_land(a: &Place, b: &Place) -> bool {
    let on_land = (0..20).filter(|&i| {
        let t = (f64::from(i) + 0.5) / 20.0;
        is_land(a.lon + (b.lon - a.lon) * t, a.lat + (b.lat - a.lat) * t)
    });
    on_land.count() >= 16
}

fn nearest_of_all(places: &[Place], at: usize, count: usize) -> Vec<(usize, f64)> {
    nearest_among(places, at, 0..places.len(), count)
}

fn nearest_among(places: &[Place], at: usize, among: impl Iterator<Item = usize>, count: usize) -> Vec<(usize, f64)> {
    // The distance on the plane that is true at the place itself: one cosine in all instead of one for each of millions of pairs.
    let (here, narrowing) = (&places[at], places[at].lat.to_radians().cos());
    let km = |there: &Place| ((there.lon - here.lon) * narrowing).hypot(there.lat - here.lat) * KM_PER_DEGREE;
    let mut near: Vec<(usize, f64)> = among.filter(|&i| i != at).map(|i| (i, km(&places[i]))).collect();
    if near.len() > count {
        near.select_nth_unstable_by(count, |a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        near.truncate(count);
    }
    near.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    near
}

/// Places by cells of half a degree, so that a town finds its neighbours without looking at all the others.
struct Grid(Vec<Vec<u32>>);

impl Grid {
    fn of(places: &[Place]) -> Grid {
        let mut cells = vec![Vec::new(); 720 * 360];
        for (i, place) in places.iter().enumerate() {
            cells[Self::cell(place.lon, place.lat)].push(i as u32);
        }
        Grid(cells)
    }

    fn cell(lon: f64, lat: f64) -> usize {
        let column = ((lon + 180.0).rem_euclid(360.0) * 2.0) as usize % 720;
        (((lat + 90.0) * 2.0) as usize).min(359) * 720 + column
    }

    fn nearest(&self, places: &[Place], at: usize, count: usize) -> Vec<(usize, f64)> {
        let place = &places[at];
        let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (f64::from(dx) / 2.0, f64::from(dy) / 2.0)));
        let among = around.flat_map(|(dx, dy)| &self.0[Self::cell(place.lon + dx, place.lat + dy)]).map(|&i| i as usize);
        nearest_among(places, at, among, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_plausible_cities() {
        let cities = cities();
        assert!(cities.len() > 500, "{}", cities.len());
        for city in &cities {
            assert!(city.lon.abs() <= 180.0 && city.lat.abs() <= 75.0, "{} {}", city.lon, city.lat);
            assert!((5.0..40_000.0).contains(&city.population), "{} {}", city.lon, city.population);
            assert!((200..800).contains(&city.mcc), "{}", city.mcc);
        }
    }

    #[test]
    fn roads_run_mostly_over_land() {
        let mut random = Random::of(1, 1);
        let on_land = (0..10_000).filter(|_| {
            let (lon, lat, _) = PLACES.on_road(&mut random);
            is_land(lon, lat)
        });
        let share = on_land.count() as f64 / 10_000.0;
        assert!(share > 0.9, "{share}");
    }
}
