//! Column names: which of them mean longitude and latitude, and how names are made unique.

const LON_WORDS: [&str; 5] = ["longitude", "lon", "lng", "long", "longitud"];
const LAT_WORDS: [&str; 3] = ["latitude", "lat", "latitud"];

/// Pairs of (longitude, latitude) columns, as places in `names`, the likeliest first: plain names before `x` and `y`, and
/// those before `pickup_longitude`; otherwise in the order of the columns.
pub fn coordinate_pairs(names: &[String]) -> Vec<(usize, usize)> {
    let lons: Vec<(usize, String)> = candidates(names, &LON_WORDS);
    let lats: Vec<(usize, String)> = candidates(names, &LAT_WORDS);
    let mut pairs: Vec<(u8, usize, usize)> = Vec::new();
    for (lon, rest) in &lons {
        if let Some((lat, _)) = lats.iter().find(|(_, other)| other == rest) {
            pairs.push((if rest.is_empty() { 0 } else { 2 }, *lon, *lat));
        }
    }
    let exact = |wanted: &str| names.iter().position(|name| name.trim().eq_ignore_ascii_case(wanted));
    if let (Some(x), Some(y)) = (exact("x"), exact("y")) {
        pairs.push((1, x, y));
    }
    pairs.sort();
    pairs.into_iter().map(|(_, lon, lat)| (lon, lat)).collect()
}

/// The columns whose name contains one of `words`, and what remains of the name without it.
fn candidates(names: &[String], words: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let tokens = tokens(name);
        let whole = tokens.iter().position(|token| words.contains(&token.as_str()));
        if let Some(at) = whole {
            let rest: Vec<&str> = tokens.iter().enumerate().filter(|&(i, _)| i != at).map(|(_, t)| t.as_str()).collect();
            found.push((place, rest.concat()));
        } else if let Some(rest) = tokens.concat().strip_suffix(words[0]) {
            found.push((place, rest.to_owned())); // startlongitude
        }
    }
    found
}

/// Words of a name, in lower case: split at anything that is no letter or digit, and before a capital after a small letter.
fn tokens(name: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    let mut after_small = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && after_small) {
            tokens.push(String::new());
        }
        if c.is_alphanumeric() {
            tokens.last_mut().expect("it starts with one").extend(c.to_lowercase());
        }
        after_small = c.is_lowercase();
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

/// Names from a header: trimmed, without a byte order mark, `column_N` where empty, and `name_2` where repeated.
pub fn from_header<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let names = fields.enumerate().map(|(place, field)| {
        let text = String::from_utf8_lossy(field);
        let name = text.trim_start_matches('\u{feff}').trim().trim_matches('"');
        if name.is_empty() { numbered(place) } else { name.to_owned() }
    });
    unique(names)
}

/// Makes names unique: the second `a` becomes `a_2`.
pub fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        let mut candidate = name.clone();
        let mut number = 2;
        while seen.contains(&candidate) {
            candidate = format!("{name}_{number}");
            number += 1;
        }
        seen.push(candidate);
    }
    seen
}

/// The name of the column at `place` (from 0) in a file without a header.
pub fn numbered(place: usize) -> String {
    format!("column_{}", place + 1)
}

/// The place of the column that a user means: the exact name, or else the only one that matches in another case.
pub fn find(names: &[String], wanted: &str) -> Option<usize> {
    let wanted = wanted.trim();
    names.iter().position(|name| name == wanted).or_else(|| {
        let mut matches = names.iter().enumerate().filter(|(_, name)| name.eq_ignore_ascii_case(wanted));
        matches.next().filter(|_| matches.next().is_none()).map(|(place, _)| place)
    })
}

/// Names for an error message.
pub fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(names: &[&str]) -> Vec<(usize, usize)> {
        coordinate_pairs(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn coordinates_are_recognised_in_any_spelling_and_order() {
        assert_eq!(pairs(&["LAT", "LON"]), [(1, 0)]);
        assert_eq!(pairs(&["lng", "lat"]), [(0, 1)]);
        assert_eq!(pairs(&["Long", "Lat"]), [(0, 1)]);
        assert_eq!(pairs(&["id", "Surface Longitude", "Surface Latitude"]), [(1, 2)]);
        assert_eq!(pairs(&["x", "y", "z"]), [(0, 1)]);
        assert_eq!(pairs(&["startLongitude", "startLatitude"]), [(0, 1)]);
        assert_eq!(pairs(&["startlongitude", "startlatitude"]), [(0, 1)]);
        assert_eq!(pairs(&["Pickup_longitude", "Pickup_latitude", "Dropoff_longitude", "Dropoff_latitude"]), [(0, 1), (2, 3)]);
        assert_eq!(pairs(&["x", "y", "lon", "lat", "a_lon", "a_lat"]), [(2, 3), (0, 1), (4, 5)]);
        assert_eq!(pairs(&["longest", "flat", "belong", "plateau", "lon"]), []);
        assert_eq!(pairs(&["a_lon", "b_lat"]), []);
    }

    #[test]
    fn header_names_are_trimmed_and_unique() {
        let header: [&[u8]; 5] = ["\u{feff}id".as_bytes(), b" a ", b"a", b"", b"Trip_type "];
        assert_eq!(from_header(header.into_iter()), ["id", "a", "a_2", "column_4", "Trip_type"]);
    }
}
