//! What an ingest will make of its inputs: which columns, of which kinds, from which fields, and where the points are.

use super::error::IngestError;
use super::names;
use super::preset::{Groups, NullIf, Preset};
use super::value::wider;
use crate::dataset::ColumnKind;
use crate::filter::{Expr, FilterError, RowFilter, Schema};
use std::collections::BTreeMap;

/// How the coordinates are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crs {
    /// Degrees (EPSG:4326).
    LonLat,
    /// Web-Mercator metres (EPSG:3857).
    WebMercator,
}

impl Crs {
    pub fn name(self) -> &'static str {
        match self {
            Crs::LonLat => "EPSG:4326",
            Crs::WebMercator => "EPSG:3857",
        }
    }
}

/// The most columns of a dataset. The widest files of points that we know have some hundred; a column took 0.65 MB
/// with 3,000 values, so that these stay below a gigabyte.
pub const COLUMNS_MAX: usize = 1024;

/// # Errors
/// There are more columns than a dataset may have.
pub fn few_enough(columns: usize) -> Result<(), IngestError> {
    if columns > COLUMNS_MAX { Err(IngestError::TooManyColumns { columns }) } else { Ok(()) }
}

/// What the user asked for about columns.
#[derive(Clone, Debug, Default)]
pub struct ColumnWishes {
    pub lon: Option<String>,
    pub lat: Option<String>,
    pub crs: Option<Crs>,
    pub category: Option<String>,
    /// Columns to keep; all if empty. Coordinates and category are always kept.
    pub columns: Vec<String>,
}

/// A column as seen in the beginnings of the inputs.
#[derive(Clone, Debug)]
pub struct SeenColumn {
    pub name: String,
    /// The kind that holds the values seen; `None` if all were null.
    pub kind: Option<ColumnKind>,
    /// A value that was seen.
    pub example: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Plan {
    /// All columns, coordinates among them; groups made by a preset come last.
    pub columns: Vec<PlannedColumn>,
    /// Places of the coordinates in `columns`.
    pub x: usize,
    pub y: usize,
    pub crs: Crs,
    pub category: Option<String>,
    /// `--where`, for the columns as they are planned.
    pub filter: Option<RowFilter>,
    /// The user named no columns: those that appear late (in JSON) are wanted too.
    pub takes_new_columns: bool,
}

#[derive(Clone, Debug)]
pub struct PlannedColumn {
    pub name: String,
    /// How fields are parsed. A later value that does not parse widens it, and the inputs are read once more.
    pub read_as: ColumnKind,
    pub unix_seconds: bool,
    pub null_if: Option<NullIf>,
    /// No value has been seen: if none comes, it is a text column without texts.
    pub undecided: bool,
    /// Made from another column (its place), not from a field.
    pub groups: Option<(usize, &'static Groups)>,
}

impl PlannedColumn {
    /// The kind of the finished column.
    pub fn kind(&self) -> ColumnKind {
        if self.unix_seconds { ColumnKind::Timestamp } else { self.read_as }
    }
}

impl Plan {
    /// Decides on the columns. Notes tell the user what was guessed.
    ///
    /// # Errors
    /// A wanted column that is not there, or no coordinates.
    pub fn new(
        seen: &[SeenColumn],
        preset: Option<&'static Preset>,
        wishes: &ColumnWishes,
        notes: &mut Vec<String>,
    ) -> Result<Plan, IngestError> {
        let all: Vec<String> = seen.iter().map(|column| column.name.clone()).collect();
        let (x, y) = coordinates(seen, &all, preset, wishes, notes)?;
        for place in [x, y] {
            if let (Some(ColumnKind::Text | ColumnKind::Boolean | ColumnKind::Timestamp), Some(example)) =
                (seen[place].kind, &seen[place].example)
                && super::value::float(example.as_bytes()).is_none()
            {
                let what = format!("its first value is '{example}', which is not a number");
                return Err(IngestError::NotACoordinate { column: all[place].clone(), what });
            }
        }
        let groups = preset.and_then(|preset| preset.groups);
        let groups = groups.filter(|groups| names::find(&all, groups.from).is_some() && names::find(&all, groups.name).is_none());
        let category = category(seen, &all, preset, groups, wishes, notes)?;
        let kept = kept(&all, wishes, &[x, y], category.as_deref(), groups)?;
        few_enough(kept.len())?;

        let mut columns: Vec<PlannedColumn> = kept.iter().map(|&place| planned(&seen[place], preset)).collect();
        let new_place = |old: usize| kept.iter().position(|&place| place == old).expect("coordinates are kept");
        let (x, y) = (new_place(x), new_place(y));
        columns[x].read_as = ColumnKind::Float;
        columns[y].read_as = ColumnKind::Float;
        if let Some(groups) = groups {
            let from = columns.iter().position(|column| column.name.eq_ignore_ascii_case(groups.from));
            let name = groups.name.to_owned();
            columns.extend(from.map(|from| PlannedColumn {
                name, read_as: ColumnKind::Text, unix_seconds: false, null_if: None, undecided: false, groups: Some((from, groups)),
            }));
        }
        Ok(Plan { columns, x, y, crs: wishes.crs.unwrap_or(Crs::LonLat), category, filter: None, takes_new_columns: wishes.columns.is_empty() })
    }

    /// Sets `--where`. To be set again when the plan has changed.
    ///
    /// # Errors
    /// An unknown column, or a value that is not of its column's kind.
    pub fn keep_only(&mut self, wanted: Option<&Expr>) -> Result<(), FilterError> {
        let schema = Schema {
            columns: self.columns.iter().map(|column| (column.name.clone(), column.kind())).collect(),
            coordinates: Vec::new(), // Known columns here, unlike in a dataset: a row still has them.
        };
        self.filter = wanted.map(|expr| RowFilter::new(expr, &schema)).transpose()?;
        Ok(())
    }

    /// Where each column is found among the fields of one input.
    pub fn fields(&self, names_of_input: &[String]) -> Vec<Option<usize>> {
        let place = |column: &PlannedColumn| names_of_input.iter().position(|name| *name == column.name);
        self.columns.iter().map(|column| if column.groups.is_some() { None } else { place(column) }).collect()
    }

    /// Adds columns that appeared late.
    pub fn add(&mut self, columns: &BTreeMap<String, Option<ColumnKind>>) {
        self.columns.extend(columns.iter().map(|(name, kind)| {
            planned(&SeenColumn { name: name.clone(), kind: *kind, example: None }, None)
        }));
    }

    /// Takes in values that did not fit their column's kind; whether anything changed.
    pub fn widen(&mut self, contradictions: &[Option<ColumnKind>]) -> bool {
        let mut changed = false;
        for (column, contradiction) in self.columns.iter_mut().zip(contradictions) {
            let read_as = wider(Some(column.read_as), *contradiction).expect("one of them is a kind");
            changed |= read_as != column.read_as;
            column.read_as = read_as;
            // Texts are no Unix times, whatever the preset expected.
            column.unix_seconds &= matches!(read_as, ColumnKind::Integer | ColumnKind::Float);
        }
        changed
    }
}

/// How a column's fields will be read.
pub fn planned(seen: &SeenColumn, preset: Option<&Preset>) -> PlannedColumn {
    let among = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(&seen.name));
    let kind = if preset.is_some_and(|preset| among(preset.texts)) { Some(ColumnKind::Text) } else { seen.kind };
    let unix_seconds = preset.is_some_and(|preset| among(preset.unix_seconds));
    let null_if = preset.and_then(|preset| {
        preset.nulls.iter().find(|(name, _)| name.eq_ignore_ascii_case(&seen.name)).map(|&(_, null_if)| null_if)
    });
    // A column of nothing but nulls so far: the narrowest kind; the first value that differs widens it.
    let read_as = kind.unwrap_or(ColumnKind::Integer);
    let unix_seconds = unix_seconds && matches!(read_as, ColumnKind::Integer | ColumnKind::Float);
    PlannedColumn { name: seen.name.clone(), read_as, unix_seconds, null_if, undecided: kind.is_none(), groups: None }
}

fn coordinates(
    seen: &[SeenColumn],
    all: &[String],
    preset: Option<&Preset>,
    wishes: &ColumnWishes,
    notes: &mut Vec<String>,
) -> Result<(usize, usize), IngestError> {
    let place = |wanted: &str| {
        names::find(all, wanted)
            .ok_or_else(|| IngestError::UnknownColumn { name: wanted.to_owned(), columns: names::listed(all) })
    };
    match (&wishes.lon, &wishes.lat) {
        (Some(lon), Some(lat)) => {
            let (x, y) = (place(lon)?, place(lat)?);
            return if x == y { Err(IngestError::Usage(format!("'{lon}' cannot be both coordinates: name a column each with --lon and --lat (or --x and --y)"))) } else { Ok((x, y)) };
        }
        (None, None) => {}
        (Some(_), None) => return Err(IngestError::Usage("--lon (or --x) also needs --lat (or --y)".into())),
        (None, Some(_)) => return Err(IngestError::Usage("--lat (or --y) also needs --lon (or --x)".into())),
    }
    if let Some(preset) = preset
        && let (Some(lon), Some(lat)) = (names::find(all, preset.lon), names::find(all, preset.lat))
    {
        return Ok((lon, lat));
    }
    let pairs = names::coordinate_pairs(all);
    let &(lon, lat) = pairs.first().ok_or_else(|| IngestError::NoCoordinates { columns: with_examples(seen) })?;
    if pairs.len() > 1 {
        notes.push(format!(
            "{} pairs of coordinates: taking '{}' and '{}'; --lon and --lat choose others",
            pairs.len(), all[lon], all[lat]
        ));
    }
    Ok((lon, lat))
}

/// Columns with a value each, so that a reader sees which are the coordinates.
fn with_examples(seen: &[SeenColumn]) -> String {
    let shown = |column: &SeenColumn| match &column.example {
        Some(example) => format!("{} ({})", column.name, example.chars().take(20).collect::<String>()),
        None => column.name.clone(),
    };
    seen.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// The words of a column that probably is the main category, the likeliest first.
const CATEGORY_WORDS: [&str; 6] = ["type", "category", "class", "kind", "group", "status"];

fn category(
    seen: &[SeenColumn],
    all: &[String],
    preset: Option<&Preset>,
    groups: Option<&Groups>,
    wishes: &ColumnWishes,
    notes: &mut Vec<String>,
) -> Result<Option<String>, IngestError> {
    if let Some(wanted) = &wishes.category {
        if let Some(groups) = groups.filter(|groups| groups.name.eq_ignore_ascii_case(wanted)) {
            return Ok(Some(groups.name.to_owned()));
        }
        return match names::find(all, wanted) {
            Some(place) => Ok(Some(all[place].clone())),
            None => Err(IngestError::UnknownColumn { name: wanted.clone(), columns: names::listed(all) }),
        };
    }
    if let Some(name) = preset.and_then(|preset| preset.category) {
        if groups.is_some_and(|groups| groups.name == name) {
            return Ok(Some(name.to_owned()));
        }
        return Ok(names::find(all, name).map(|place| all[place].clone()));
    }
    let texts = || seen.iter().filter(|column| column.kind == Some(ColumnKind::Text));
    let exact = CATEGORY_WORDS.iter().find_map(|word| texts().find(|column| column.name.eq_ignore_ascii_case(word)));
    let found = exact.or_else(|| {
        CATEGORY_WORDS.iter().find_map(|word| texts().find(|column| column.name.to_lowercase().contains(word)))
    });
    if let Some(column) = found {
        notes.push(format!("coloured by '{}'; --category chooses another column", column.name));
    }
    Ok(found.map(|column| column.name.clone()))
}

/// Places of the columns to keep, ascending.
fn kept(
    all: &[String],
    wishes: &ColumnWishes,
    coordinates: &[usize],
    category: Option<&str>,
    groups: Option<&Groups>,
) -> Result<Vec<usize>, IngestError> {
    if wishes.columns.is_empty() {
        return Ok((0..all.len()).collect());
    }
    let mut kept = coordinates.to_vec();
    for wanted in &wishes.columns {
        match names::find(all, wanted) {
            Some(place) => kept.push(place),
            None if groups.is_some_and(|groups| groups.name.eq_ignore_ascii_case(wanted)) => {}
            None => return Err(IngestError::UnknownColumn { name: wanted.clone(), columns: names::listed(all) }),
        }
    }
    kept.extend(category.and_then(|category| names::find(all, category)));
    kept.extend(groups.and_then(|groups| names::find(all, groups.from)));
    kept.sort_unstable();
    kept.dedup();
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(columns: &[(&str, ColumnKind)]) -> Vec<SeenColumn> {
        let column = |&(name, kind): &(&str, ColumnKind)| SeenColumn { name: name.to_owned(), kind: Some(kind), example: Some("Foo".into()) };
        columns.iter().map(column).collect()
    }

    #[test]
    fn columns_are_chosen_and_coordinates_stay() {
        let seen = seen(&[("a", ColumnKind::Text), ("lat", ColumnKind::Float), ("lon", ColumnKind::Integer), ("b", ColumnKind::Text)]);
        let wishes = ColumnWishes { columns: vec!["B".into()], ..ColumnWishes::default() };
        let plan = Plan::new(&seen, None, &wishes, &mut Vec::new()).unwrap();
        assert_eq!(plan.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["lat", "lon", "b"]);
        assert_eq!((plan.x, plan.y, plan.columns[1].read_as), (1, 0, ColumnKind::Float));
    }

    #[test]
    fn a_dataset_is_only_so_wide() {
        let names: Vec<String> = (0..COLUMNS_MAX - 1).map(|i| format!("c{i}")).collect();
        let mut columns: Vec<(&str, ColumnKind)> = names.iter().map(|name| (name.as_str(), ColumnKind::Integer)).collect();
        columns.extend([("lon", ColumnKind::Float), ("lat", ColumnKind::Float)]);
        let plan = |wishes: &ColumnWishes| Plan::new(&seen(&columns), None, wishes, &mut Vec::new()).map(|plan| plan.columns.len());
        let error = plan(&ColumnWishes::default()).unwrap_err().to_string();
        assert!(error.contains("1025 columns") && error.contains("--columns"), "{error}");
        assert_eq!(plan(&ColumnWishes { columns: vec!["c7".into()], ..ColumnWishes::default() }).unwrap(), 3);
    }

    #[test]
    fn wrong_columns_are_named() {
        let seen = seen(&[("a", ColumnKind::Text), ("lat", ColumnKind::Float), ("lon", ColumnKind::Float)]);
        let plan = |wishes: &ColumnWishes| Plan::new(&seen, None, wishes, &mut Vec::new()).map(|_| ()).unwrap_err().to_string();
        let wishes = ColumnWishes { columns: vec!["nope".into()], ..ColumnWishes::default() };
        assert_eq!(plan(&wishes), "there is no column 'nope'; the columns are 'a', 'lat', 'lon'");
        let wishes = ColumnWishes { lon: Some("lon".into()), lat: Some("LON".into()), ..ColumnWishes::default() };
        assert!(plan(&wishes).starts_with("'lon' cannot be both coordinates"), "{}", plan(&wishes));
        let wishes = ColumnWishes { lon: Some("a".into()), lat: Some("lat".into()), ..ColumnWishes::default() };
        assert_eq!(plan(&wishes), "column 'a' is no coordinate: its first value is 'Foo', which is not a number; name another with --lon and --lat");
    }
}
