//! Cell towers over the world in OpenCelliD's 14 columns.
//!
//! What is drawn, and from where: positions from [`super::places`]; the shares of radios, ranges and samples are guesses guided by the published
//! country files (ranges of exactly 1000 m, a third of the cells seen once, several cells on one coordinate).

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::land::is_land;
use super::places::{KM_PER_DEGREE, PLACES, Place};
use super::random::Random;
use super::table::{Table, push_fixed, push_int};

/// One row. Coordinates are whole millionths of a degree, which print and parse without loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tower {
    radio: Radio,
    mcc: u16,
    net: u16,
    area: u32,
    cell: i64,
    unit: i16,
    lon_e6: i32,
    lat_e6: i32,
    range_m: u32,
    samples: u32,
    created: u32,
    updated: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Radio {
    Gsm,
    Umts,
    Cdma,
    Lte,
    Nr,
}

impl Radio {
    fn name(self) -> &'static str {
        match self {
            Radio::Gsm => "GSM",
            Radio::Umts => "UMTS",
            Radio::Cdma => "CDMA",
            Radio::Lte => "LTE",
            Radio::Nr => "NR",
        }
    }

    /// Median range in metres and the largest cell number of each technology.
    fn range_and_cells(self) -> (f64, u64) {
        match self {
            Radio::Gsm => (2600.0, 65_535),
            Radio::Umts => (1700.0, 1 << 28),
            Radio::Cdma => (5200.0, 65_535),
            Radio::Lte => (1900.0, 1 << 28),
            Radio::Nr => (1000.0, 1 << 36),
        }
    }
}

/// The towers of one seed.
pub struct Towers {
    pub seed: u64,
}

impl Table for Towers {
    type Chunk = Vec<Tower>;

    const CSV_HEADER: &'static str = "radio,mcc,net,area,cell,unit,lon,lat,range,samples,changeable,created,updated,averageSignal";

    fn chunk(&self, index: u64, rows: usize) -> Vec<Tower> {
        let mut random = Random::of(self.seed, index);
        let mut towers = Vec::with_capacity(rows);
        while towers.len() < rows {
            let site = Site::draw(&mut random);
            let cells = if random.chance(0.12) { 2 + (random.exponential() * 2.5) as usize } else { 1 };
            for sector in 0..cells.min(rows - towers.len()) {
                towers.push(site.tower(sector as i64, &mut random));
            }
        }
        towers
    }

    fn push_csv(towers: &Vec<Tower>, out: &mut Vec<u8>) {
        for tower in towers {
            out.extend_from_slice(tower.radio.name().as_bytes());
            for value in [i64::from(tower.mcc), i64::from(tower.net), i64::from(tower.area), tower.cell, i64::from(tower.unit)] {
                out.push(b',');
                push_int(out, value);
            }
            for value in [tower.lon_e6, tower.lat_e6] {
                out.push(b',');
                push_fixed(out, value.into(), 6);
            }
            for value in [tower.range_m, tower.samples, 1, tower.created, tower.updated, 0] {
                out.push(b',');
                push_int(out, value.into());
            }
            out.push(b'\n');
        }
    }

    fn schema() -> SchemaRef {
        let int = |name| Field::new(name, DataType::Int32, false);
        let long = |name| Field::new(name, DataType::Int64, false);
        let double = |name| Field::new(name, DataType::Float64, false);
        Arc::new(Schema::new(vec![
            Field::new("radio", DataType::Utf8, false),
            int("mcc"),
            int("net"),
            int("area"),
            long("cell"),
            int("unit"),
            double("lon"),
            double("lat"),
            int("range"),
            int("samples"),
            int("changeable"),
            long("created"),
            long("updated"),
            int("averageSignal"),
        ]))
    }

    fn batch(towers: &Vec<Tower>) -> RecordBatch {
        let int = |of: fn(&Tower) -> i32| -> ArrayRef { Arc::new(Int32Array::from_iter_values(towers.iter().map(of))) };
        let long = |of: fn(&Tower) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(towers.iter().map(of))) };
        let double = |of: fn(&Tower) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(towers.iter().map(of))) };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(towers.iter().map(|tower| tower.radio.name()))),
            int(|tower| tower.mcc.into()),
            int(|tower| tower.net.into()),
            int(|tower| tower.area as i32),
            long(|tower| tower.cell),
            int(|tower| tower.unit.into()),
            double(|tower| f64::from(tower.lon_e6) / 1e6),
            double(|tower| f64::from(tower.lat_e6) / 1e6),
            int(|tower| tower.range_m as i32),
            int(|tower| tower.samples as i32),
            int(|_| 1),
            long(|tower| tower.created.into()),
            long(|tower| tower.updated.into()),
            int(|_| 0),
        ];
        RecordBatch::try_new(Self::schema(), columns).expect("the columns above are those of the schema")
    }
}

/// What the cells of one mast share.
struct Site {
    lon_e6: i32,
    lat_e6: i32,
    mcc: u16,
    net: u16,
    area: u32,
    radio: Radio,
    base_cell: i64,
    created: u32,
    /// Cells reach further where people are few.
    reach: f64,
}

impl Site {
    fn draw(random: &mut Random) -> Site {
        let (lon, lat, place, reach) = position(random);
        let (lon_e6, lat_e6) = if random.chance(0.3) {
            // Some positions come from a device that rounds to four decimals.
            ((lon * 1e4).round() as i32 * 100, (lat * 1e4).round() as i32 * 100)
        } else {
            ((lon * 1e6).round() as i32, (lat * 1e6).round() as i32)
        };
        let created = created(random);
        let radio = radio(place.mcc, created, random);
        let (_, cells) = radio.range_and_cells();
        // The four largest networks of a country share it unevenly.
        let net = [1, 10, 20, 3][(random.uniform().powf(1.6) * 4.0) as usize] + place.mcc % 7;
        // Areas are numbered along the map, as operators do: about a quarter degree each.
        let area = ((lat + 90.0) * 4.0) as u32 * 97 + ((lon + 180.0) * 4.0) as u32 * 13 + u32::from(net) * 1000;
        let base_cell = ((random.uniform().powi(2) * cells as f64) as i64 / 256 * 256).max(1);
        Site { lon_e6, lat_e6, mcc: mcc(place.mcc, random), net, area: area % 65_534 + 1, radio, base_cell, created, reach }
    }

    fn tower(&self, sector: i64, random: &mut Random) -> Tower {
        let (median_m, _) = self.radio.range_and_cells();
        let range_m = match random.uniform() {
            u if u < 0.36 => 1000,
            u if u < 0.375 => 500,
            _ => (random.log_normal(median_m * self.reach, 0.85) as u32).clamp(500, 100_000),
        };
        let samples = if random.chance(0.3) { 1 } else { (random.log_normal(9.0, 1.5) as u32).clamp(1, 200_000) };
        let unit = match random.uniform() {
            u if u < 0.45 => 0,
            u if u < 0.85 => -1,
            _ => random.below(504) as i16,
        };
        let updated = if samples == 1 {
            self.created
        } else {
            // Half of the cells are seen again within about a year.
            let later = (random.exponential() * 5e7) as u32;
            self.created.saturating_add(later).min(LAST_SECOND)
        };
        Tower {
            radio: self.radio,
            mcc: self.mcc,
            net: self.net,
            area: self.area,
            cell: self.base_cell + sector,
            unit,
            lon_e6: self.lon_e6,
            lat_e6: self.lat_e6,
            range_m,
            samples,
            created: self.created,
            updated,
        }
    }
}

/// A position on land, the place that it belongs to, and how much further than in a city its cells reach.
fn position(random: &mut Random) -> (f64, f64, &'static Place, f64) {
    // Seven in eight draws are on land, so that a row costs little more than one.
    loop {
        let (lon, lat, place, reach) = match random.uniform() {
            u if u < 0.58 => in_settlement(random),
            u if u < 0.80 => beside_road(0.3, 1.3, random),
            _ => beside_road(8.0, 2.2, random),
        };
        // Looking a little aside blurs the mask's steps, which would show as stairs along every coast.
        let (aside_lon, aside_lat) = (random.between(-0.03, 0.03), random.between(-0.03, 0.03));
        if lon.abs() < 180.0 && lat.abs() < 80.0 && is_land(lon + aside_lon, lat + aside_lat) {
            return (lon, lat, place, reach);
        }
    }
}

fn in_settlement(random: &mut Random) -> (f64, f64, &'static Place, f64) {
    let place = PLACES.settlement(random);
    // A city of ten million reaches about 15 km from its middle, a town of ten thousand 1 km; suburbs thin out far beyond.
    let radius_km = 0.38 * place.population.powf(0.42);
    let spread = if random.chance(0.55) { 0.45 } else { 1.5 };
    let bearing = random.between(0.0, std::f64::consts::TAU);
    // Cities grow along valleys and coasts: two and three lobes, turned by where the city lies.
    let turn = place.lon * 7.0 + place.lat * 3.0;
    let lobes = 1.0 + 0.3 * (2.0 * bearing + turn).cos() + 0.2 * (3.0 * bearing + 2.0 * turn).cos();
    let km = random.exponential() * radius_km * spread * lobes;
    let (lon, lat) = moved(place.lon, place.lat, km * bearing.cos(), km * bearing.sin());
    (lon, lat, place, if spread < 1.0 { 0.8 } else { 1.1 })
}

fn beside_road(median_km: f64, reach: f64, random: &mut Random) -> (f64, f64, &'static Place, f64) {
    let (lon, lat, place) = PLACES.on_road(random);
    let km = random.log_normal(median_km, 0.8);
    let bearing = random.between(0.0, std::f64::consts::TAU);
    let (lon, lat) = moved(lon, lat, km * bearing.cos(), km * bearing.sin());
    (lon, lat, place, reach)
}

fn moved(lon: f64, lat: f64, east_km: f64, north_km: f64) -> (f64, f64) {
    (lon + east_km / (KM_PER_DEGREE * lat.to_radians().cos().max(0.1)), lat + north_km / KM_PER_DEGREE)
}

/// Large countries have more than one mobile country code.
fn mcc(first: u16, random: &mut Random) -> u16 {
    match first {
        310 if random.chance(0.35) => 311,
        404 if random.chance(0.4) => 405,
        234 if random.chance(0.03) => 235,
        _ => first,
    }
}

/// 2026-02-01T00:00:00Z, the end of the data.
const LAST_SECOND: u32 = 1_769_904_000;

/// When a cell was first seen, Unix seconds: crowd-sourcing grew slowly from 2003, with a wave in 2016 and again lately.
fn created(random: &mut Random) -> u32 {
    /// How often each year from 2003 to 2025 occurs, of 1000.
    const YEARS: [u16; 23] = [1, 1, 1, 2, 3, 7, 12, 18, 30, 45, 50, 52, 66, 112, 62, 45, 44, 46, 52, 60, 80, 96, 115];
    let mut rest = random.below(1000) as u16;
    let year = YEARS.iter().position(|&share| {
        let here = rest < share;
        rest = rest.saturating_sub(share);
        here
    });
    /// 2003-01-01T00:00:00Z, and the mean length of a year.
    const START: f64 = 1_041_379_200.0;
    const YEAR: f64 = 31_556_952.0;
    let year = year.unwrap_or(YEARS.len() - 1) as f64;
    ((START + (year + random.uniform()) * YEAR) as u32).min(LAST_SECOND)
}

/// The technology of a cell first seen at `created` in the country `mcc`.
fn radio(mcc: u16, created: u32, random: &mut Random) -> Radio {
    let year = 1970.0 + f64::from(created) / 31_556_952.0;
    // Each technology rises over some years; the world outside the early adopters follows later.
    let late = match mcc {
        204 | 208 | 228 | 234 | 240 | 242 | 244 | 262 | 302 | 310 | 440 | 450 | 460 | 505 | 525 => 0.0,
        200..=299 | 419..=427 | 530 => 1.0,
        600..=699 => 4.0,
        _ => 2.5,
    };
    let rise = |start: f64, years: f64| ((year - start - late) / years).clamp(0.0, 1.0);
    let nr = 0.12 * rise(2019.5, 5.0);
    let lte = 0.74 * rise(2010.0, 12.0);
    let umts = 0.52 * rise(2003.0, 9.0) * (1.0 - 0.75 * rise(2014.0, 11.0));
    let cdma = match mcc {
        310 => 0.22,
        460 | 404 | 450 | 440 | 510 | 250 | 724 => 0.05,
        _ => 0.004,
    } * (1.0 - rise(2015.0, 8.0));
    let gsm = match mcc {
        // Where GSM was never built or has been switched off.
        440 | 450 | 505 | 525 => 0.02,
        310 => 0.3 * (1.0 - rise(2013.0, 9.0)),
        _ => 0.62 * (1.0 - 0.7 * rise(2010.0, 15.0)),
    };
    let mut rest = random.uniform() * (nr + lte + umts + cdma + gsm);
    for (share, radio) in [(lte, Radio::Lte), (gsm, Radio::Gsm), (umts, Radio::Umts), (cdma, Radio::Cdma)] {
        if rest < share {
            return radio;
        }
        rest -= share;
    }
    Radio::Nr
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn towers() -> Vec<Tower> {
        Towers { seed: 1 }.chunk(0, 50_000)
    }

    #[test]
    fn rows_are_plausible() {
        for tower in towers() {
            assert!(tower.lon_e6.abs() <= 180_000_000 && tower.lat_e6.abs() <= 80_000_000, "{tower:?}");
            assert!((500..=100_000).contains(&tower.range_m) && tower.samples >= 1, "{tower:?}");
            assert!(tower.created >= 1_041_379_200 && tower.created <= tower.updated && tower.updated <= LAST_SECOND, "{tower:?}");
            assert!((200..800).contains(&tower.mcc) && (1..=65_535).contains(&tower.area) && tower.cell >= 1, "{tower:?}");
        }
    }

    #[test]
    fn towers_stand_on_land() {
        // The blur of the mask lets a few stand on the shore's wrong side.
        let wet = towers().iter().filter(|tower| !is_land(f64::from(tower.lon_e6) / 1e6, f64::from(tower.lat_e6) / 1e6)).count();
        assert!(wet < 1500, "{wet} of 50,000 in water");
    }

    #[test]
    fn all_five_radios_occur_in_a_realistic_mix() {
        let mut counts = HashMap::new();
        towers().iter().for_each(|tower| *counts.entry(tower.radio.name()).or_insert(0u32) += 1);
        let share = |name| f64::from(counts[name]) / 50_000.0;
        assert!((0.15..0.45).contains(&share("GSM")), "{counts:?}");
        assert!((0.15..0.45).contains(&share("UMTS")), "{counts:?}");
        assert!((0.3..0.6).contains(&share("LTE")), "{counts:?}");
        assert!((0.003..0.05).contains(&share("CDMA")), "{counts:?}");
        assert!((0.01..0.1).contains(&share("NR")), "{counts:?}");
    }

    #[test]
    fn some_towers_share_a_coordinate_and_most_do_not() {
        let mut stacks: HashMap<_, u32> = HashMap::new();
        towers().iter().for_each(|tower| *stacks.entry((tower.lon_e6, tower.lat_e6)).or_default() += 1);
        assert!(stacks.values().any(|&count| count >= 8));
        assert!((25_000..48_000).contains(&stacks.len()), "{}", stacks.len());
    }
}
