//! Presets: what is known beforehand of well-known files, so that each ingests with one command.
//!
//! A preset is data, not code: column names for files without a header, the coordinates, the main category with its colours,
//! values that mean null, which integers are times, and whom to credit.

/// Everything a preset says. Column names are matched without regard to case.
#[derive(Debug)]
pub struct Preset {
    pub name: &'static str,
    /// Names of the columns of a file without a header, in order.
    pub columns: &'static [&'static str],
    /// Columns that a file with a header must have for the preset to be chosen by itself.
    pub recognised_by: &'static [&'static str],
    pub lon: &'static str,
    pub lat: &'static str,
    pub category: Option<&'static str>,
    /// Value, label, colour of the category's values.
    pub styles: &'static [(&'static str, &'static str, &'static str)],
    pub unix_seconds: &'static [&'static str],
    /// Digits that are codes.
    pub texts: &'static [&'static str],
    pub nulls: &'static [(&'static str, NullIf)],
    pub groups: Option<&'static Groups>,
    pub attribution: &'static str,
}

/// Numbers that mean "not available".
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NullIf {
    Equals(f64),
    AtLeast(f64),
}

impl NullIf {
    pub fn is_null(self, value: f64) -> bool {
        match self {
            NullIf::Equals(sentinel) => value == sentinel,
            NullIf::AtLeast(sentinel) => value >= sentinel,
        }
    }
}

/// A text column made from ranges of a numeric code.
#[derive(Debug)]
pub struct Groups {
    pub name: &'static str,
    pub from: &'static str,
    /// First code, last code, group.
    pub ranges: &'static [(i64, i64, &'static str)],
    pub other: &'static str,
    pub unknown: &'static str,
}

impl Groups {
    pub fn group(&self, code: Option<f64>) -> &'static str {
        let Some(code) = code else { return self.unknown };
        let holds = |&&(first, last, _): &&(i64, i64, &str)| code >= first as f64 && code <= last as f64;
        self.ranges.iter().find(holds).map_or(self.other, |&(_, _, group)| group)
    }
}

pub const PRESETS: [&Preset; 5] = [&OPENCELLID, &AIS, &GEONAMES, &GEONAMES_POSTAL, &OPENFLIGHTS];

/// Values of the radio column: they tell a cell file without a header from others.
const RADIOS: [&[u8]; 7] = [b"GSM", b"UMTS", b"LTE", b"CDMA", b"NR", b"NBIOT", b"NB-IoT"];

/// Cells of OpenCelliD. Source of the columns: <https://wiki.opencellid.org/wiki/Menu_map_view>; of the colours: the
/// World Cell Towers map, which never shows NR.
static OPENCELLID: Preset = Preset {
    name: "opencellid",
    columns: &[
        "radio", "mcc", "net", "area", "cell", "unit", "lon", "lat", "range", "samples", "changeable", "created", "updated",
        "averageSignal",
    ],
    recognised_by: &["radio", "mcc", "net", "area", "cell", "lon", "lat", "range", "samples"],
    lon: "lon",
    lat: "lat",
    category: Some("radio"),
    styles: &[
        ("UMTS", "UMTS", "#3cb44b"),
        ("LTE", "LTE", "#e6194b"),
        ("GSM", "GSM", "#4363d8"),
        ("CDMA", "CDMA", "#f58231"),
        ("NR", "NR (5G)", "#911eb4"),
        ("NBIOT", "NB-IoT", "#00a6a6"),
    ],
    unix_seconds: &["created", "updated"],
    texts: &[],
    nulls: &[],
    groups: None,
    attribution: "OpenCelliD.org (Unwired Labs), CC BY-SA 4.0",
};

/// Ship positions of MarineCadastre. Sentinels: ITU-R M.1371, table 48 (heading 511, speed 102.3, course 360 are "not
/// available"; 102.2 is "102.2 knots or more", which is no measurement either).
static AIS: Preset = Preset {
    name: "ais",
    columns: &[
        "MMSI", "BaseDateTime", "LAT", "LON", "SOG", "COG", "Heading", "VesselName", "IMO", "CallSign", "VesselType",
        "Status", "Length", "Width", "Draft", "Cargo", "TransceiverClass",
    ],
    recognised_by: &["MMSI", "BaseDateTime", "LAT", "LON", "SOG", "COG", "Heading", "VesselType"],
    lon: "LON",
    lat: "LAT",
    category: Some("VesselGroup"),
    styles: &[
        ("cargo", "Cargo", "#3cb44b"),
        ("tanker", "Tanker", "#e6194b"),
        ("passenger", "Passenger", "#4363d8"),
        ("fishing", "Fishing", "#f58231"),
        ("tug", "Tug and tow", "#42d4f4"),
        ("sailing", "Sailing", "#ffe119"),
        ("pleasure", "Pleasure craft", "#f032e6"),
        ("other", "Other", "#9a6324"),
        ("unknown", "Unknown", "#808080"),
    ],
    unix_seconds: &[],
    texts: &[],
    nulls: &[("Heading", NullIf::Equals(511.0)), ("SOG", NullIf::AtLeast(102.2)), ("COG", NullIf::Equals(360.0))],
    groups: Some(&VESSEL_GROUPS),
    attribution: "MarineCadastre.gov (U.S. Coast Guard, NOAA, BOEM)",
};

/// Vessel type codes. Source: ITU-R M.1371, table 53, with the Coast Guard's codes.
static VESSEL_GROUPS: Groups = Groups {
    name: "VesselGroup",
    from: "VesselType",
    ranges: &[
        (30, 30, "fishing"),
        (31, 32, "tug"),
        (52, 52, "tug"),
        (36, 36, "sailing"),
        (37, 37, "pleasure"),
        (60, 69, "passenger"),
        (70, 79, "cargo"),
        (80, 89, "tanker"),
    ],
    other: "other",
    unknown: "unknown",
};

/// The main dump of GeoNames. Source of the columns: its readme.txt.
static GEONAMES: Preset = Preset {
    name: "geonames",
    columns: &[
        "geonameid", "name", "asciiname", "alternatenames", "latitude", "longitude", "feature class", "feature code",
        "country code", "cc2", "admin1 code", "admin2 code", "admin3 code", "admin4 code", "population", "elevation", "dem",
        "timezone", "modification date",
    ],
    recognised_by: &["geonameid", "asciiname", "latitude", "longitude", "feature class", "feature code"],
    lon: "longitude",
    lat: "latitude",
    category: Some("feature code"),
    styles: &[],
    unix_seconds: &[],
    texts: &["name", "asciiname", "alternatenames", "admin1 code", "admin2 code", "admin3 code", "admin4 code"],
    nulls: &[],
    groups: None,
    attribution: "GeoNames (geonames.org), CC BY",
};

/// The postal codes of GeoNames. Source of the columns: its readme.txt.
static GEONAMES_POSTAL: Preset = Preset {
    name: "geonames-postal",
    columns: &[
        "country code", "postal code", "place name", "admin name1", "admin code1", "admin name2", "admin code2",
        "admin name3", "admin code3", "latitude", "longitude", "accuracy",
    ],
    recognised_by: &["country code", "postal code", "place name", "latitude", "longitude", "accuracy"],
    lon: "longitude",
    lat: "latitude",
    category: Some("admin name1"),
    styles: &[],
    unix_seconds: &[],
    texts: &["postal code", "admin code1", "admin code2", "admin code3"],
    nulls: &[],
    groups: None,
    attribution: "GeoNames (geonames.org), CC BY",
};

/// airports.dat of OpenFlights. Source of the columns: <https://openflights.org/data.php>.
static OPENFLIGHTS: Preset = Preset {
    name: "openflights",
    columns: &[
        "id", "name", "city", "country", "IATA", "ICAO", "latitude", "longitude", "altitude", "timezone", "DST",
        "tz database zone", "type", "source",
    ],
    recognised_by: &["IATA", "ICAO", "latitude", "longitude", "altitude", "DST"],
    lon: "longitude",
    lat: "latitude",
    category: Some("DST"),
    styles: &[
        ("E", "Europe", "#4363d8"),
        ("A", "US/Canada", "#e6194b"),
        ("S", "South America", "#3cb44b"),
        ("O", "Australia", "#f58231"),
        ("Z", "New Zealand", "#42d4f4"),
        ("N", "None", "#911eb4"),
        ("U", "Unknown", "#808080"),
    ],
    unix_seconds: &[],
    texts: &["name", "city"],
    nulls: &[],
    groups: None,
    attribution: "OpenFlights (openflights.org), ODbL 1.0",
};

/// The preset of a name.
pub fn named(name: &str) -> Option<&'static Preset> {
    PRESETS.into_iter().find(|preset| preset.name == name)
}

/// All names, for messages.
pub fn names() -> String {
    PRESETS.map(|preset| preset.name).join(", ")
}

/// The preset that a file's column names give away.
pub fn by_header(columns: &[String]) -> Option<&'static Preset> {
    let has = |wanted: &&&str| columns.iter().any(|column| column.eq_ignore_ascii_case(wanted));
    PRESETS.into_iter().find(|preset| preset.recognised_by.iter().filter(has).count() == preset.recognised_by.len())
}

/// The preset that the records of a file without a header give away: the number of columns, and what stands in some.
pub fn by_shape(delimiter: u8, records: &[csv::ByteRecord]) -> Option<&'static Preset> {
    let every = |test: &dyn Fn(&csv::ByteRecord) -> bool| !records.is_empty() && records.iter().all(test);
    let number = |record: &csv::ByteRecord, place: usize, limit: f64| {
        super::value::float(&record[place]).is_some_and(|value| value.abs() <= limit)
    };
    if delimiter == b',' && every(&|r| r.len() == 14 && RADIOS.contains(&&r[0]) && number(r, 6, 360.0) && number(r, 7, 90.0)) {
        Some(&OPENCELLID)
    } else if delimiter == b'\t' && every(&|r| r.len() == 19 && number(r, 4, 90.0) && number(r, 5, 360.0) && r[6].len() <= 1) {
        Some(&GEONAMES)
    } else if delimiter == b'\t' && every(&|r| r.len() == 12 && r[0].len() == 2 && number(r, 9, 90.0) && number(r, 10, 360.0)) {
        Some(&GEONAMES_POSTAL)
    } else if delimiter == b',' && every(&|r| r.len() == 14 && number(r, 6, 90.0) && number(r, 7, 360.0) && r[10].len() <= 2) {
        Some(&OPENFLIGHTS)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vessel_codes_fall_into_groups() {
        let group = |code| VESSEL_GROUPS.group(Some(code));
        assert_eq!([30.0, 31.0, 32.0, 52.0, 69.0, 70.0, 89.0, 90.0, 0.0].map(group),
            ["fishing", "tug", "tug", "tug", "passenger", "cargo", "tanker", "other", "other"]);
        assert_eq!(VESSEL_GROUPS.group(None), "unknown");
    }

    #[test]
    fn every_preset_is_consistent() {
        for preset in PRESETS {
            let known = |name: &str| preset.columns.contains(&name) || preset.groups.is_some_and(|g| g.name == name);
            let names = [preset.lon, preset.lat].into_iter().chain(preset.category).chain(preset.texts.iter().copied());
            names.chain(preset.unix_seconds.iter().copied()).chain(preset.nulls.iter().map(|(name, _)| *name))
                .for_each(|name| assert!(known(name), "{}: {name}", preset.name));
            let columns: Vec<String> = preset.columns.iter().map(|name| name.to_uppercase()).collect();
            assert_eq!(by_header(&columns).map(|p| p.name), Some(preset.name));
        }
    }
}
