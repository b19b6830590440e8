//! Ship positions in MarineCadastre's 17 columns: a fleet with names and sizes, and its reports with the gaps and sentinels of real receivers.
//!
//! Rates of blanks and sentinels follow a real day around the United States (half of the headings 511, a tenth of the courses 360, half of the IMO
//! numbers blank). Movement comes from [`super::ships`].

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::random::Random;
use super::ships::{Fix, Voyage, Way};
use super::table::{CHUNK_ROWS, Table, push_digits, push_fixed, push_int};

/// Chunks of one day: 8.4 million reports, about what a busy day has. More rows are more days of the same fleet.
const CHUNKS_PER_DAY: u64 = 128;

/// 2025-01-01T00:00:00Z.
const FIRST_DAY: i64 = 1_735_689_600;
const DAY: f64 = 86_400.0;

/// Few rows shall still show many ships: below this many rows, ships report less often instead of being fewer.
const ROWS_AT_FULL_RATE: u64 = 16_000_000;

/// The reports of one seed. Their number matters, as small samples are thinned.
pub struct Reports {
    seed: u64,
    /// Multiplies the time between reports.
    thinning: f64,
}

impl Reports {
    pub fn new(seed: u64, rows: u64) -> Reports {
        Reports { seed, thinning: (ROWS_AT_FULL_RATE as f64 / rows.max(1) as f64).clamp(1.0, 200.0) }
    }
}

/// Some ships and their reports, ship by ship and each in time order.
pub struct Fleet {
    vessels: Vec<Vessel>,
    reports: Vec<Report>,
    /// Midnight before the reports, Unix seconds.
    day: i64,
}

struct Vessel {
    mmsi: i64,
    way: Way,
    name: String,
    imo: Option<String>,
    call_sign: Option<String>,
    vessel_type: Option<i32>,
    length_m: Option<i32>,
    width_m: Option<i32>,
    draft_dm: Option<i32>,
    cargo: Option<i32>,
    class: char,
    /// Small craft have no compass on the bus: their heading is 511.
    has_heading: bool,
    /// Some receivers give no course while a ship lies still.
    has_course_at_rest: bool,
    has_speed: bool,
}

struct Report {
    vessel: u32,
    second: u32,
    lon_e5: i32,
    lat_e5: i32,
    sog_e1: i32,
    cog_e1: i32,
    heading: i32,
    status: Option<i32>,
}

impl Table for Reports {
    type Chunk = Fleet;

    const CSV_HEADER: &'static str =
        "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,IMO,CallSign,VesselType,Status,Length,Width,Draft,Cargo,TransceiverClass";

    fn chunk(&self, index: u64, rows: usize) -> Fleet {
        // The ships of a chunk are the same on every day; what they do is drawn anew.
        let slot = index % CHUNKS_PER_DAY;
        let mut fleet = Fleet { vessels: Vec::new(), reports: Vec::with_capacity(rows), day: FIRST_DAY + (index / CHUNKS_PER_DAY) as i64 * DAY as i64 };
        while fleet.reports.len() < rows {
            let number = fleet.vessels.len() as u64;
            let mut home = Random::of(self.seed, slot * CHUNK_ROWS as u64 + number);
            let mut random = Random::of(self.seed ^ 0xA15, index * CHUNK_ROWS as u64 + number);
            let vessel = Vessel::draw(slot, number, &mut home);
            let voyage = Voyage::start(vessel.way, &mut home, &mut random);
            fleet.report(vessel, voyage, self.thinning, rows, &mut random);
        }
        fleet
    }

    fn push_csv(fleet: &Fleet, out: &mut Vec<u8>) {
        let date = jiff::Timestamp::from_second(fleet.day).expect("days are far below the year 9999").strftime("%Y-%m-%dT").to_string();
        for report in &fleet.reports {
            fleet.push_line(report, date.as_bytes(), out);
        }
    }

    fn schema() -> SchemaRef {
        let field = |name, kind, nullable| Field::new(name, kind, nullable);
        let text = |name| field(name, DataType::Utf8, true);
        let int = |name| field(name, DataType::Int32, true);
        let double = |name| field(name, DataType::Float64, false);
        Arc::new(Schema::new(vec![
            field("MMSI", DataType::Int64, false),
            field("BaseDateTime", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
            double("LAT"),
            double("LON"),
            double("SOG"),
            double("COG"),
            double("Heading"),
            text("VesselName"),
            text("IMO"),
            text("CallSign"),
            int("VesselType"),
            int("Status"),
            int("Length"),
            int("Width"),
            field("Draft", DataType::Float64, true),
            int("Cargo"),
            text("TransceiverClass"),
        ]))
    }

    fn batch(fleet: &Fleet) -> RecordBatch {
        let reports = || fleet.reports.iter();
        let vessels = || reports().map(|report| &fleet.vessels[report.vessel as usize]);
        let double = |of: fn(&Report) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(reports().map(of))) };
        let int = |of: fn(&Vessel) -> Option<i32>| -> ArrayRef { Arc::new(Int32Array::from_iter(vessels().map(of))) };
        let times = TimestampMillisecondArray::from_iter_values(reports().map(|report| (fleet.day + i64::from(report.second)) * 1000));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(vessels().map(|vessel| vessel.mmsi))),
            Arc::new(times.with_timezone("UTC")),
            double(|report| f64::from(report.lat_e5) / 1e5),
            double(|report| f64::from(report.lon_e5) / 1e5),
            double(|report| f64::from(report.sog_e1) / 10.0),
            double(|report| f64::from(report.cog_e1) / 10.0),
            double(|report| report.heading.into()),
            Arc::new(StringArray::from_iter_values(vessels().map(|vessel| vessel.name.as_str()))),
            Arc::new(StringArray::from_iter(vessels().map(|vessel| vessel.imo.as_deref()))),
            Arc::new(StringArray::from_iter(vessels().map(|vessel| vessel.call_sign.as_deref()))),
            int(|vessel| vessel.vessel_type),
            Arc::new(Int32Array::from_iter(reports().map(|report| report.status))),
            int(|vessel| vessel.length_m),
            int(|vessel| vessel.width_m),
            Arc::new(Float64Array::from_iter(vessels().map(|vessel| vessel.draft_dm.map(|draft| f64::from(draft) / 10.0)))),
            int(|vessel| vessel.cargo),
            Arc::new(StringArray::from_iter_values(vessels().map(|vessel| if vessel.class == 'A' { "A" } else { "B" }))),
        ];
        RecordBatch::try_new(Self::schema(), columns).expect("the columns above are those of the schema")
    }
}

impl Fleet {
    /// Adds a vessel and its day, up to `rows` reports in all.
    fn report(&mut self, vessel: Vessel, mut voyage: Voyage, thinning: f64, rows: usize, random: &mut Random) {
        // Two thirds are in reach of a receiver all day, the others for a part of it.
        let (start, end) = if random.chance(0.66) {
            (random.uniform() * 180.0, DAY)
        } else {
            let length = random.between(0.05, 0.7) * DAY;
            let start = random.uniform() * (DAY - length);
            (start, start + length)
        };
        let interval = thinning * if vessel.way == Way::Moored { 180.0 } else { 68.0 };
        let index = self.vessels.len() as u32;
        // A first report somewhere within the interval, or thinned ships would all report at midnight.
        let mut time = start + random.uniform() * interval.min((end - start) * 0.9);
        let mut elapsed = 0.0;
        while time < end && self.reports.len() < rows {
            let fix = voyage.advance(elapsed, random);
            self.reports.push(vessel.report(index, time as u32, fix, random));
            elapsed = interval * random.between(0.9, 1.15);
            // Now and then a gap of some minutes.
            elapsed *= if random.chance(0.02) { random.between(2.0, 8.0) } else { 1.0 };
            time += elapsed;
        }
        self.vessels.push(vessel);
    }

    fn push_line(&self, report: &Report, date: &[u8], out: &mut Vec<u8>) {
        let vessel = &self.vessels[report.vessel as usize];
        push_int(out, vessel.mmsi);
        out.push(b',');
        out.extend_from_slice(date);
        for (part, end) in [(report.second / 3600, b':'), (report.second / 60 % 60, b':'), (report.second % 60, b',')] {
            push_digits(out, part.into(), 2);
            out.push(end);
        }
        for (value, decimals) in [(report.lat_e5, 5), (report.lon_e5, 5), (report.sog_e1, 1), (report.cog_e1, 1), (report.heading * 10, 1)] {
            push_fixed(out, value.into(), decimals);
            out.push(b',');
        }
        for text in [Some(&vessel.name), vessel.imo.as_ref(), vessel.call_sign.as_ref()] {
            out.extend_from_slice(text.map_or(b"", |text| text.as_bytes()));
            out.push(b',');
        }
        for value in [vessel.vessel_type, report.status, vessel.length_m, vessel.width_m] {
            if let Some(value) = value {
                push_int(out, value.into());
            }
            out.push(b',');
        }
        if let Some(draft) = vessel.draft_dm {
            push_fixed(out, draft.into(), 1);
        }
        out.push(b',');
        if let Some(cargo) = vessel.cargo {
            push_int(out, cargo.into());
        }
        out.extend_from_slice(&[b',', vessel.class as u8, b'\n']);
    }
}

impl Vessel {
    fn draw(slot: u64, number: u64, random: &mut Random) -> Vessel {
        let way = match random.uniform() {
            u if u < 0.40 => Way::Lane,
            u if u < 0.60 => Way::Coast,
            u if u < 0.72 => Way::Fishing,
            _ => Way::Moored,
        };
        let vessel_type = match way {
            Way::Lane => *random.one_of(&[70, 70, 70, 70, 79, 71, 80, 80, 80, 89, 84, 60]),
            Way::Coast => *random.one_of(&[37, 37, 36, 31, 31, 52, 60, 60, 90, 70, 50, 51]),
            Way::Fishing => 30,
            Way::Moored => *random.one_of(&[37, 37, 37, 31, 31, 31, 36, 30, 60, 60, 90, 70, 80, 52, 0]),
        };
        let large = (70..90).contains(&vessel_type) || vessel_type == 60 && random.chance(0.4);
        let length = if large { random.log_normal(170.0, 0.35).min(400.0) } else { random.log_normal(18.0, 0.4) };
        let is_known = large || random.chance(0.82);
        // Maritime identification digits: the largest registers, weighted by repetition.
        let flag: i64 = *random.one_of(&[
            338, 338, 367, 367, 366, 368, 636, 636, 538, 538, 352, 371, 477, 563, 241, 229, 311, 319, 257, 219, 244, 235, 227, 224, 247, 261, 273, 271, 412, 413,
            413, 431, 440, 416, 574, 525, 419, 503, 710, 725, 316,
        ]);
        // 128 slots of 7800 ships number a million, the six digits that a flag has.
        let mmsi = flag * 1_000_000 + (slot * 7800 + number % 7800) as i64;
        let letters = |random: &mut Random| char::from(b'A' + random.below(26) as u8);
        let call_sign = format!("{}{}{}{}", letters(random), letters(random), letters(random), random.below(9000) + 1000);
        Vessel {
            mmsi,
            way,
            name: name(random),
            imo: match random.uniform() {
                u if u < if large { 0.92 } else { 0.2 } => Some(format!("IMO{}", 7_000_000 + random.below(2_990_000))),
                u if u > 0.9 => Some("IMO0000000".to_owned()),
                _ => None,
            },
            call_sign: random.chance(0.9).then_some(call_sign),
            vessel_type: random.chance(0.985).then_some(vessel_type),
            length_m: is_known.then_some(length as i32),
            width_m: is_known.then_some((length / if large { 6.2 } else { 3.4 }).max(2.0) as i32),
            draft_dm: (large || random.chance(0.3)).then_some((length * random.between(0.4, 0.7)).min(180.0) as i32),
            cargo: random.chance(if large { 0.85 } else { 0.55 }).then_some(vessel_type),
            class: if large || random.chance(0.55) { 'A' } else { 'B' },
            has_heading: random.chance(if large { 0.96 } else { 0.25 }),
            has_course_at_rest: random.chance(0.85),
            has_speed: !random.chance(0.0015),
        }
    }

    fn report(&self, vessel: u32, second: u32, fix: Fix, random: &mut Random) -> Report {
        let at_rest = fix.knots < 0.3;
        let cog = (fix.course.rem_euclid(360.0) * 10.0) as i32 % 3600;
        let status = match self.way {
            Way::Moored => *random.one_of(&[5, 5, 5, 5, 5, 1, 0, 15]),
            Way::Fishing => 7,
            _ => 0,
        };
        Report {
            vessel,
            second,
            lon_e5: (((fix.lon + 180.0).rem_euclid(360.0) - 180.0) * 1e5).round() as i32,
            lat_e5: (fix.lat * 1e5).round() as i32,
            // 102.3 knots, 360 degrees and a heading of 511 say "not available".
            sog_e1: if self.has_speed { (fix.knots * 10.0).round() as i32 } else { 1023 },
            cog_e1: if at_rest && !self.has_course_at_rest { 3600 } else { cog },
            heading: if self.has_heading { (cog / 10 + random.below(7) as i32 - 3).rem_euclid(360) } else { 511 },
            status: (self.class == 'A').then_some(status),
        }
    }
}

/// A ship's name. Names repeat now and then, as real ones do.
fn name(random: &mut Random) -> String {
    const FIRST: [&str; 40] = [
        "OCEAN", "STAR", "LADY", "CAPTAIN", "MISS", "SEA", "GOLDEN", "BLUE", "NORTHERN", "PACIFIC", "ATLANTIC", "SILVER", "ISLAND", "GRAND", "EVER", "ROYAL", "WIND",
        "SOUTHERN", "RIVER", "BAY", "CORAL", "CRYSTAL", "POLAR", "EASTERN", "WESTERN", "HARBOR", "NEW", "RED", "SAINT", "QUEEN", "KING", "MORNING", "LUCKY", "ALPINE",
        "IRON", "WHITE", "BRAVE", "FREE", "BALTIC", "NORDIC",
    ];
    const SECOND: [&str; 40] = [
        "SPIRIT", "DREAM", "PEARL", "TRADER", "EXPRESS", "HORIZON", "PIONEER", "VOYAGER", "BREEZE", "EAGLE", "DAWN", "CHALLENGER", "FORTUNE", "HARMONY", "GLORY", "HUNTER",
        "LIGHT", "MARINER", "NAVIGATOR", "PRIDE", "PRINCESS", "QUEST", "RANGER", "RUNNER", "SEEKER", "SONG", "SUN", "TIDE", "VENTURE", "VICTORY", "WAVE", "ROSE", "GULL",
        "DOLPHIN", "CARRIER", "BRIDGE", "LEADER", "GRACE", "ANNA", "MARIE",
    ];
    let plain = format!("{} {}", random.one_of(&FIRST), random.one_of(&SECOND));
    if random.chance(0.45) { format!("{plain} {}", random.below(98) + 2) } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn fleet() -> Fleet {
        Reports::new(1, 4_000_000).chunk(0, CHUNK_ROWS)
    }

    #[test]
    fn sentinels_and_blanks_occur_at_realistic_rates() {
        let fleet = fleet();
        let share = |of: &dyn Fn(&Report) -> bool| fleet.reports.iter().filter(|report| of(report)).count() as f64 / fleet.reports.len() as f64;
        assert!((0.2..0.7).contains(&share(&|report| report.heading == 511)));
        assert!((0.005..0.2).contains(&share(&|report| report.cog_e1 == 3600)));
        assert!((0.1..0.8).contains(&share(&|report| fleet.vessels[report.vessel as usize].imo.is_none())));
        assert!((0.1..0.7).contains(&share(&|report| report.status.is_none())));
        assert!((0.1..0.5).contains(&share(&|report| report.sog_e1 <= 2)));
    }

    #[test]
    fn a_vessel_has_one_number_and_reports_in_order() {
        let fleet = fleet();
        let numbers: HashSet<i64> = fleet.vessels.iter().map(|vessel| vessel.mmsi).collect();
        assert_eq!(numbers.len(), fleet.vessels.len());
        assert!(numbers.iter().all(|number| (100_000_000..1_000_000_000).contains(number)));
        for pair in fleet.reports.windows(2) {
            assert!(pair[0].vessel < pair[1].vessel || pair[0].second <= pair[1].second);
        }
    }

    #[test]
    fn the_next_day_has_the_same_ships() {
        let reports = Reports::new(1, 100_000_000);
        let (first, second) = (reports.chunk(3, 5000), reports.chunk(3 + CHUNKS_PER_DAY, 5000));
        assert_eq!(second.day - first.day, DAY as i64);
        assert_eq!(first.vessels[0].mmsi, second.vessels[0].mmsi);
        assert_eq!(first.vessels[0].name, second.vessels[0].name);
    }

    #[test]
    fn a_small_sample_shows_many_ships() {
        assert!(Reports::new(1, 1000).chunk(0, 1000).vessels.len() > 100);
    }
}
