//! What every engine is tested by: generated datasets and filters, and brute force (every point asked, one by one) as the
//! referee. Both engines run all of it.
//!
//! ```text
//! select          selected points of generated predicates (`check`); every comparison, nulls, antimeridian (`comparisons.rs`)
//! rank            by way of every count; ranks alone in `bitmap.rs`; on the GPU faults in `rank.wgsl` are noticed (`gpu/tests/faults.rs`)
//! count           the tile of a point and its neighbour at zooms 0 to 24, by group and not (`check`)
//! distribution    all pixels of a zoom, 0 to 24 (`check`)
//! aggregate       sums, means, minima, maxima of integers, floats and decimals: tiles and whole zooms (`check`)
//! histogram       edges and tables, in an area and everywhere, nulls and outside (`check`)
//! linked          both engines with each other (`gpu/tests.rs`), the CPU with brute force (`crossfilter/tests.rs`)
//!
//! sizes           1, 31, 32, 33, 511, 512, 513 points and any to 1,500 (`sample`); 0 points (`check_empty`)
//! places          all points in one pixel, in the world's corners and at its edges, sharing cells at many levels (`coordinate`)
//! borders         parts of any size, overlapping ones (`sample`); segments of the GPU of several parts (`gpu/tests.rs`, `gpu/tests/paging.rs`)
//! ```

mod comparisons;

pub(crate) use comparisons::{check_comparisons, varied};

use super::*;
use crate::dataset::testing::{TestColumn, dataset, dataset_of_parts};
use crate::dataset::{ColumnId, Dataset, Value};
use crate::filter::Predicate;
use crate::world::{Key, WorldBox, WorldPoint, pixel_from_code};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A sample: points that share cells at many levels, and columns of several widths with nulls.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    points: Vec<WorldPoint>,
    radios: Vec<Option<String>>,
    sizes: Vec<Option<i64>>,
    speeds: Vec<Option<f64>>,
    grades: Vec<Option<f64>>,
    part_points: usize,
    /// Whether points go to the parts in turn, so that all parts overlap, as appended ones do.
    overlapping: bool,
}

fn coordinate() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0), Just(u32::MAX), Just(1 << 31),
        0u32..1 << 12,
        (0u32..64).prop_map(|v| 0x5000_0000 + v),
        (0u32..512).prop_map(|v| 0x8000_0000 + (v << 14)),
        any::<u32>(),
    ]
}

pub(crate) fn sample() -> impl Strategy<Value = Sample> {
    let lengths = prop_oneof![Just(1usize), Just(31), Just(32), Just(33), Just(511), Just(512), Just(513), 1usize..1500];
    let one_place = proptest::option::weighted(0.1, (coordinate(), coordinate()));
    // So that keys are 1, 2 or 4 bytes wide.
    let sizes_max = prop_oneof![Just(50i64), Just(5_000), Just(70_000)];
    let parts = (prop_oneof![Just(1 << 23), 1usize..400], prop::bool::weighted(0.2));
    (lengths, parts, one_place, sizes_max).prop_flat_map(|(n, (part_points, overlapping), place, sizes_max)| {
        let places = match place {
            Some(place) => Just(place).boxed(),
            None => (coordinate(), coordinate()).boxed(),
        };
        let row = (
            places,
            proptest::option::weighted(0.9, 0usize..5),
            proptest::option::weighted(0.9, prop_oneof![0i64..50, 0i64..sizes_max]),
            proptest::option::weighted(0.9, -5.0f64..5.0),
            proptest::option::weighted(0.9, (-9i8..9).prop_map(|grade| f64::from(grade) / 10.0)),
        );
        proptest::collection::vec(row, n).prop_map(move |rows| Sample {
            points: rows.iter().map(|row| WorldPoint { x: row.0.0, y: row.0.1 }).collect(),
            radios: rows.iter().map(|row| row.1.map(|r| format!("radio {r}"))).collect(),
            sizes: rows.iter().map(|row| row.2).collect(),
            speeds: rows.iter().map(|row| row.3).collect(),
            grades: rows.iter().map(|row| row.4).collect(),
            part_points,
            overlapping,
        })
    })
}

impl Sample {
    pub(crate) fn open(&self) -> (tempfile::TempDir, Arc<Dataset>) {
        let columns = [
            ("radio", TestColumn::Text(self.radios.clone())),
            ("size", TestColumn::Integer(self.sizes.clone())),
            ("speed", TestColumn::Float(self.speeds.clone())),
            ("grade", TestColumn::FewFloats(self.grades.clone())),
        ];
        let (folder, dataset) = if self.overlapping {
            let parts = self.points.len().div_ceil(self.part_points);
            let of_part = |part: usize| (part..self.points.len()).step_by(parts).collect();
            dataset_of_parts(&self.points, &columns, &(0..parts).map(of_part).collect::<Vec<_>>())
        } else {
            dataset(&self.points, &columns, self.part_points)
        };
        (folder, Arc::new(dataset))
    }
}

/// Every point as (key, keys of the columns), read back one by one.
fn rows(dataset: &Dataset) -> Vec<(Key, Vec<u64>)> {
    let columns = 0..dataset.columns().len();
    let parts = dataset.parts.iter();
    parts
        .flat_map(|part| {
            let columns = columns.clone();
            (0..part.rows()).map(move |i| {
                (part.key(i), columns.clone().map(|c| part.column(ColumnId(c)).get(i as usize)).collect())
            })
        })
        .collect()
}

/// What an aggregate comes to in every cell of a zoom's pixels that has a value, from the values themselves.
fn brute_force(dataset: &Dataset, predicate: &Predicate, aggregate: Aggregate, zoom: Zoom) -> BTreeMap<u64, f64> {
    let Aggregate { measure, column } = aggregate;
    // By cell: the values of each part's points, in their order.
    let mut found: BTreeMap<u64, Vec<Vec<Value>>> = BTreeMap::new();
    let all = rows(dataset);
    let mut all = all.iter();
    for part in &dataset.parts {
        let mut cells: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
        for row in all.by_ref().take(part.rows() as usize) {
            let value = dataset.value(column, row.1[column.0]);
            if value != Value::Null && passes(predicate, row) {
                cells.entry(row.0.cell(zoom.pixel_level())).or_default().push(value);
            }
        }
        cells.into_iter().for_each(|(cell, values)| found.entry(cell).or_default().push(values));
    }
    let of_cell = |parts: Vec<Vec<Value>>| {
        let count = parts.iter().map(Vec::len).sum::<usize>() as f64;
        let numbers = |values: &[Value]| values.iter().map(|value| value.as_f64().unwrap()).collect::<Vec<f64>>();
        let sum = match parts[0][0] {
            Value::Integer(_) => {
                let integer = |value: &Value| if let Value::Integer(n) = value { i128::from(*n) } else { unreachable!() };
                parts.iter().flatten().map(integer).sum::<i128>() as f64
            }
            // Grades are tenths, in a dictionary.
            _ if column == ColumnId(3) => {
                let tenths = parts.iter().flatten().map(|value| (value.as_f64().unwrap() * 10.0).round() as i64).sum::<i64>() as f64;
                return if measure == Measure::Mean { tenths / (10.0 * count) } else { tenths / 10.0 };
            }
            _ => parts.iter().map(|values| numbers(values).iter().fold(0.0, |sum, value| sum + value)).reduce(|a, b| a + b).unwrap(),
        };
        match measure {
            Measure::Sum => sum,
            Measure::Mean => sum / count,
            Measure::Min => parts.iter().flat_map(|values| numbers(values)).reduce(f64::min).unwrap(),
            Measure::Max => parts.iter().flat_map(|values| numbers(values)).reduce(f64::max).unwrap(),
        }
    };
    found.into_iter().map(|(cell, parts)| (cell, of_cell(parts))).collect()
}

fn passes(predicate: &Predicate, row: &(Key, Vec<u64>)) -> bool {
    match predicate {
        Predicate::All => true,
        Predicate::Nothing => false,
        Predicate::And(terms) => terms.iter().all(|term| passes(term, row)),
        Predicate::Or(terms) => terms.iter().any(|term| passes(term, row)),
        Predicate::Keys { column, ranges } => ranges.iter().any(|&(lo, hi)| (lo..=hi).contains(&row.1[column.0])),
        Predicate::Inside(region) => region.contains(row.0.world()),
        Predicate::Outside(region) => !region.contains(row.0.world()),
    }
}

pub(crate) fn predicate() -> impl Strategy<Value = Predicate> {
    let ranges = proptest::collection::btree_set(0u64..80, 2..14).prop_map(|edges| {
        let edges: Vec<u64> = edges.into_iter().collect();
        edges.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>()
    });
    let wide = (0u64..70_000, 0u64..30_000).prop_map(|(lo, span)| vec![(lo, lo + span)]);
    let floats = (any::<u64>(), any::<u64>()).prop_map(|(a, b)| vec![(a.min(b).max(1), a.max(b).max(1))]);
    let corner = || (coordinate(), coordinate()).prop_map(|(x, y)| WorldPoint { x, y });
    let boxed = || (corner(), corner()).prop_map(|(a, b)| Region::of_boxes(vec![WorldBox {
        min: WorldPoint { x: a.x.min(b.x), y: a.y.min(b.y) },
        max: WorldPoint { x: a.x.max(b.x), y: a.y.max(b.y) },
    }]));
    let leaf = prop_oneof![
        Just(Predicate::All),
        Just(Predicate::Nothing),
        (0u64..6, 0u64..3).prop_map(|(lo, n)| Predicate::Keys { column: ColumnId(0), ranges: vec![(lo, lo + n)] }),
        ranges.prop_map(|ranges| Predicate::Keys { column: ColumnId(1), ranges }),
        wide.prop_map(|ranges| Predicate::Keys { column: ColumnId(1), ranges }),
        floats.prop_map(|ranges| Predicate::Keys { column: ColumnId(2), ranges }),
        boxed().prop_map(Predicate::Inside),
        boxed().prop_map(Predicate::Outside),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let terms = proptest::collection::vec(inner, 1..4);
        prop_oneof![terms.clone().prop_map(Predicate::And), terms.prop_map(Predicate::Or)]
    })
}

/// What is asked of a sample.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub predicate: Predicate,
    /// Whether points are kept apart by radio.
    pub by: bool,
    pub zoom: u8,
    pub pick: prop::sample::Index,
}

pub(crate) fn question() -> impl Strategy<Value = Question> {
    (predicate(), any::<bool>(), 0u8..=24, any::<prop::sample::Index>())
        .prop_map(|(predicate, by, zoom, pick)| Question { predicate, by, zoom, pick })
}

/// Compares all that an engine answers with what a scan of the points says.
pub(crate) fn check(engine: &dyn Engine, dataset: &Dataset, question: &Question) -> Result<(), TestCaseError> {
    let Question { predicate, by, zoom, pick } = question;
    let by = *by;
    let groups = Arc::new(if by { Groups::by_column(dataset, ColumnId(0), &[]).unwrap() } else { Groups::none(dataset) });
    let filter = Arc::new(Filter::new(predicate.clone(), "as generated".into()));
    let never = Cancel::never();
    let selection = engine.select(&filter, &groups, &never).unwrap();
    let group_of = |row: &(Key, Vec<u64>)| if by { usize::from(groups.group_of_key()[row.1[0] as usize]) } else { 0 };

    let all_rows = rows(dataset);
    let passing: Vec<_> = all_rows.iter().filter(|row| passes(predicate, row)).collect();
    prop_assert_eq!(selection.total() as usize, passing.len());

    // Tiles: the one of a point, its neighbour, and the whole zoom's sum where the zoom has few tiles.
    let zoom = Zoom::new(*zoom).unwrap();
    let tile = TileId::containing(all_rows[pick.index(all_rows.len())].0.world(), zoom);
    let tiles: Vec<TileId> = [Some(tile), tile.neighbour(1, 0)].into_iter().flatten().collect();
    for (tile, grid) in tiles.iter().zip(engine.count(&selection, &tiles, &never).unwrap()) {
        let mut expected = CountGrid::zeros(groups.len(), 256);
        for row in passing.iter().filter(|row| tile.world_box().contains(row.0.world())) {
            let shift = 32 - zoom.pixel_level();
            let world = row.0.world();
            let (x, y) = ((world.x >> shift) as usize % 256, (world.y >> shift) as usize % 256);
            expected.counts[group_of(row) * 65536 + y * 256 + x] += 1;
        }
        prop_assert!(grid == expected, "tile {} differs", tile);
    }

    let mut pixels = std::collections::BTreeMap::<u64, u32>::new();
    for row in &passing {
        *pixels.entry(row.0.cell(zoom.pixel_level())).or_default() += 1;
    }
    let expected = Distribution::of_totals(pixels.into_values());
    prop_assert_eq!(engine.distribution(&selection, zoom, &never).unwrap(), expected);

    for (measure, column) in [
        (Measure::Sum, 1), (Measure::Min, 1), (Measure::Max, 1), (Measure::Mean, 2), (Measure::Min, 2), (Measure::Max, 2),
        (Measure::Sum, 2), (Measure::Mean, 3), (Measure::Sum, 3),
    ] {
        let aggregate = Aggregate { measure, column: ColumnId(column) };
        let pixels = brute_force(dataset, predicate, aggregate, zoom);
        let distribution = ValueDistribution::of_values(pixels.values().copied());
        prop_assert_eq!(engine.value_distribution(&selection, aggregate, zoom, &never).unwrap(), distribution);
        for (tile, grid) in tiles.iter().zip(engine.aggregate(&selection, aggregate, &tiles, &never).unwrap()) {
            let mut expected = ValueGrid::empty(256);
            for (&cell, &value) in &pixels {
                let key = Key(cell << (64 - 2 * zoom.pixel_level()));
                if tile.world_box().contains(key.world()) {
                    expected.values[pixel_from_code(cell as u16)] = value;
                }
            }
            prop_assert!(grid == expected, "{:?} of tile {} differs", aggregate, tile);
        }
    }

    let area = Region::of_boxes(vec![tile.world_box()]);
    let requests = [
        HistogramRequest { column: ColumnId(1), bins: Bins::Edges(vec![1, 5, 20, 300, 60_000]) },
        HistogramRequest { column: ColumnId(0), bins: Bins::OfKey { bin_of_key: vec![Bins::NONE, 1, 0, 1], bins: 2 } },
        HistogramRequest { column: ColumnId(2), bins: Bins::Edges(vec![1, 1 << 62, 1 << 63, u64::MAX]) },
    ];
    for area in [None, Some(&area)] {
        let answers = engine.histograms(&selection, &requests, area, &never).unwrap();
        for (request, answer) in requests.iter().zip(answers) {
            let mut expected = Histogram::zeros(groups.len(), request.bins.len());
            for row in passing.iter().filter(|row| area.is_none_or(|area| area.contains(row.0.world()))) {
                let (group, key) = (group_of(row), row.1[request.column.0]);
                match request.bins.bin(key) {
                    Some(bin) => expected.counts[group * request.bins.len() + bin] += 1,
                    None if key == 0 => expected.nulls[group] += 1,
                    None => expected.outside[group] += 1,
                }
            }
            prop_assert_eq!(&answer, &expected);
        }
    }
    Ok(())
}

/// A dataset without points has no selected ones, and none in any tile, bin or pixel.
pub(crate) fn check_empty(open: impl Fn(Arc<Dataset>) -> Arc<dyn Engine>) {
    let columns = [("radio", TestColumn::Text(Vec::new())), ("size", TestColumn::Integer(Vec::new()))];
    let (_folder, dataset) = dataset(&[], &columns, 100);
    let dataset = Arc::new(dataset);
    assert_eq!((dataset.rows(), dataset.parts.len()), (0, 0));
    let engine = open(dataset.clone());
    let (groups, never) = (Arc::new(Groups::none(&dataset)), Cancel::never());
    let some = Predicate::Keys { column: ColumnId(1), ranges: vec![(0, 9)] };
    for filter in [Filter::all(), Filter::new(some, "some".into())] {
        let selection = engine.select(&Arc::new(filter), &groups, &never).unwrap();
        assert_eq!(selection.total(), 0);
        let tiles = [TileId::new(0, 0, 0).unwrap(), TileId::new(24, 1, 2).unwrap()];
        for grid in engine.count(&selection, &tiles, &never).unwrap() {
            assert_eq!((grid.total(), grid.counts.len()), (0, 65536));
        }
        let request = HistogramRequest { column: ColumnId(1), bins: Bins::Edges(vec![1, 5, 9]) };
        let histograms = engine.histograms(&selection, &[request], None, &never).unwrap();
        assert_eq!(histograms, [Histogram::zeros(1, 2)]);
        for z in [0, 9, 24] {
            let zoom = Zoom::new(z).unwrap();
            assert_eq!(engine.distribution(&selection, zoom, &never).unwrap(), Distribution::of_totals(std::iter::empty()));
        }
        let aggregate = Aggregate { measure: Measure::Max, column: ColumnId(1) };
        let values = engine.aggregate(&selection, aggregate, &tiles, &never).unwrap();
        assert!(values.iter().all(|grid| grid.values.iter().all(|value| value.is_nan())));
    }
}
