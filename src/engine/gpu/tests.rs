//! The GPU engine against brute force and against the CPU, on whatever adapter there is: software Vulkan will do.
//!
//! Here are the samples, the questions and the agreement of both engines; `tests/` has what is broken on purpose, memory, and loss.

mod faults;
mod loss;
mod paging;

use super::*;
use crate::dataset::ColumnId;
use crate::dataset::testing::{TestColumn, dataset};
use crate::engine::cpu::CpuEngine;
use crate::engine::{Backend, Bins, Brush, EngineOptions, Measure, testing};
use crate::filter::Predicate;
use crate::world::WorldPoint;
use proptest::prelude::*;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

/// One device for all tests of a process; `None` where they are to be skipped.
fn gpu() -> Option<Arc<Gpu>> {
    static GPU: OnceLock<Option<Arc<Gpu>>> = OnceLock::new();
    GPU.get_or_init(|| own_gpu(&GpuOptions::default())).clone()
}

/// A device of the test's own; `None` where there is no adapter and somebody has said that this is to be so.
fn own_gpu(options: &GpuOptions) -> Option<Arc<Gpu>> {
    match Gpu::open(Adapters::Any, options) {
        Ok(gpu) => Some(gpu),
        Err(EngineError::NoDevice(why)) if std::env::var_os("POINTILLIST_SKIP_GPU_TESTS").is_some_and(|skip| skip == "1") => {
            eprintln!("SKIPPED: a test of the GPU engine, as POINTILLIST_SKIP_GPU_TESTS=1 says: {why}");
            None
        }
        Err(error) => panic!(
            "{error}; `make test` installs software Vulkan (mesa-vulkan-drivers), POINTILLIST_SKIP_GPU_TESTS=1 does without"
        ),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn everything_an_engine_answers_is_what_a_scan_of_the_points_says(
        sample in testing::sample(), questions in proptest::collection::vec(testing::question(), 1..3),
    ) {
        let Some(gpu) = gpu() else { return Ok(()) };
        let (_folder, dataset) = sample.open();
        let engine = GpuEngine::new(gpu, dataset.clone());
        for question in questions {
            testing::check(&engine, &dataset, &question)?;
        }
    }
}

#[test]
fn every_comparison_selects_what_its_definition_says() {
    let Some(gpu) = gpu() else { return };
    let (_folder, dataset) = testing::varied();
    testing::check_comparisons(&GpuEngine::new(gpu, dataset.clone()), &dataset);
}

#[test]
fn a_dataset_without_points_has_nothing_anywhere() {
    let Some(gpu) = gpu() else { return };
    testing::check_empty(|dataset| Arc::new(GpuEngine::new(gpu.clone(), dataset)));
}

/// 300,000 points in one part or several: more than a rank's workgroup covers, pixels with more points than the tables of
/// `distribution` hold, more values than groups.
fn large(part_points: usize) -> (tempfile::TempDir, Arc<Dataset>) {
    let mut state = 1u32;
    let mut random = move || {
        // Numerical Recipes' generator.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let points: Vec<WorldPoint> = (0..300_000)
        .map(|i| match i % 10 {
            0 => WorldPoint { x: 1 << 30, y: 3 << 29 },
            1 if i % 100 < 30 => WorldPoint { x: 1 << 30, y: 1 },
            2..5 => WorldPoint { x: 0x4000_0000 + random() % 4096, y: 0x6000_0000 + random() % 4096 },
            5..7 => WorldPoint { x: random() << 8, y: random() << 8 },
            _ => WorldPoint { x: 0x8000_0000 + (random() << 2), y: 0x5000_0000 + (random() << 1) },
        })
        .collect();
    let names = (0..points.len()).map(|_| Some(random() % 101).filter(|&v| v > 0).map(|v| format!("name {v}"))).collect();
    let sizes = (0..points.len()).map(|_| Some(i64::from(random() % 10_000)).filter(|&v| v > 9)).collect();
    let heights = (0..points.len()).map(|_| Some(i64::from(random() % 1_000_000)).filter(|&v| v > 999)).collect();
    let speeds = (0..points.len()).map(|_| Some(f64::from(random()).sqrt()).filter(|&v| v > 99.0)).collect();
    // Tenths, so that they are added up as integers.
    let grades = (0..points.len()).map(|_| Some((f64::from(random() % 60) - 30.0) / 10.0).filter(|&v| v != 0.0)).collect();
    // So large that the sum of a dense pixel takes more than 64 bits.
    let weights = (0..points.len()).map(|_| Some(i64::from(random()) << 38).filter(|&v| v > 0)).collect();
    let columns = [
        ("name", TestColumn::Text(names)),
        ("size", TestColumn::Integer(sizes)),
        ("height", TestColumn::Integer(heights)),
        ("speed", TestColumn::Float(speeds)),
        ("grade", TestColumn::FewFloats(grades)),
        ("weight", TestColumn::Integer(weights)),
    ];
    let (folder, dataset) = dataset(&points, &columns, part_points);
    let widths: Vec<usize> = dataset.columns().iter().map(|column| column.width.bytes()).collect();
    assert_eq!(widths, [1, 2, 4, 8, 1, 8]);
    (folder, Arc::new(dataset))
}

/// Tells all that an engine answers about a filter, at some zooms, as digests with names; until one is not liked.
fn each_answer(
    engine: &dyn Engine,
    filter: &Filter,
    groups: &Arc<Groups>,
    zooms: &[u8],
    mut told: impl FnMut(String, u64) -> Result<(), String>,
) -> Result<(), String> {
    let (filter, never) = (Arc::new(filter.clone()), Cancel::never());
    let mut tell = |what: String, answer: &dyn Fn(&mut DefaultHasher)| {
        let mut digest = DefaultHasher::new();
        answer(&mut digest);
        told(format!("{what} under '{}'", filter.canonical()), digest.finish())
    };
    let selection = engine.select(&filter, groups, &never).unwrap();
    tell("selected points".to_owned(), &|digest| selection.counts.hash(digest))?;
    for &z in zooms {
        let zoom = Zoom::new(z).unwrap();
        let heavy = TileId::containing(WorldPoint { x: 1 << 30, y: 3 << 29 }, zoom);
        let dense = TileId::containing(WorldPoint { x: 0x8155_5555, y: 0x5133_3333 }, zoom);
        let tiles: Vec<TileId> = (-1..=1).filter_map(|dx| heavy.neighbour(dx, 0)).chain([dense]).collect();
        let grids = engine.count(&selection, &tiles, &never).unwrap();
        tell(format!("tiles of zoom {z}"), &|digest| grids.iter().for_each(|grid| grid.counts.hash(digest)))?;
        let distribution = engine.distribution(&selection, zoom, &never).unwrap();
        tell(format!("distribution of zoom {z}"), &|digest| distribution.pixels_by_count.hash(digest))?;
    }
    for (measure, column) in [
        (Measure::Sum, 1), (Measure::Mean, 2), (Measure::Max, 2), (Measure::Min, 1), (Measure::Max, 3), (Measure::Min, 3),
        (Measure::Sum, 3), (Measure::Mean, 4), (Measure::Sum, 5), (Measure::Max, 5),
    ] {
        let aggregate = Aggregate { measure, column: ColumnId(column) };
        for z in [zooms[0], zooms[zooms.len() - 1]] {
            let heavy = TileId::containing(WorldPoint { x: 1 << 30, y: 3 << 29 }, Zoom::new(z).unwrap());
            let tiles: Vec<TileId> = [Some(heavy), heavy.neighbour(1, 0)].into_iter().flatten().collect();
            let grids = engine.aggregate(&selection, aggregate, &tiles, &never).unwrap();
            let bits = |value: &f64| if value.is_nan() { u64::MAX } else { value.to_bits() };
            tell(format!("{aggregate:?} at zoom {z}"), &|digest| {
                grids.iter().flat_map(|grid| &grid.values).for_each(|value| bits(value).hash(digest));
            })?;
        }
    }
    let requests = [
        HistogramRequest { column: ColumnId(1), bins: Bins::Edges((0..=10_000).step_by(2).collect()) },
        HistogramRequest { column: ColumnId(1), bins: Bins::Edges(vec![1, 100, 5_000]) },
        HistogramRequest { column: ColumnId(2), bins: Bins::Edges(vec![500, 1_000, 500_000, 900_000]) },
        HistogramRequest { column: ColumnId(3), bins: Bins::Edges(vec![1 << 63, 0xC080 << 48, 0xC0A0 << 48, u64::MAX]) },
        HistogramRequest {
            column: ColumnId(0),
            bins: Bins::OfKey { bin_of_key: (0..=100).map(|key| if key % 3 == 0 { Bins::NONE } else { key % 7 }).collect(), bins: 7 },
        },
    ];
    let area = Region::of_boxes(vec![TileId::new(1, 0, 0).unwrap().world_box()]);
    for area in [None, Some(&area)] {
        for (i, histogram) in engine.histograms(&selection, &requests, area, &never).unwrap().into_iter().enumerate() {
            tell(format!("histogram {i}"), &|digest| (&histogram.counts, &histogram.nulls, &histogram.outside).hash(digest))?;
        }
    }
    Ok(())
}

fn answers(engine: &dyn Engine, filter: &Filter, groups: &Arc<Groups>, zooms: &[u8]) -> Vec<u64> {
    let mut answers = Vec::new();
    each_answer(engine, filter, groups, zooms, |_, digest| {
        answers.push(digest);
        Ok(())
    })
    .unwrap();
    answers
}

/// The first answer, if any, that is not what is expected.
fn difference(expected: &[u64], gpu: &dyn Engine, filter: &Filter, groups: &Arc<Groups>, zooms: &[u8]) -> Option<String> {
    let mut expected = expected.iter();
    let told = |what, digest| if expected.next() == Some(&digest) { Ok(()) } else { Err(what) };
    each_answer(gpu, filter, groups, zooms, told).err()
}

/// Compares all that two engines answer about a filter, at some zooms.
fn compare(cpu: &dyn Engine, gpu: &dyn Engine, filter: &Filter, groups: &Arc<Groups>, zooms: &[u8]) {
    let expected = answers(cpu, filter, groups, zooms);
    assert_eq!(difference(&expected, gpu, filter, groups, zooms), None, "differs");
}

/// Everything, something of every kind (every width, few ranges and many, regions, AND in OR in AND), nothing.
fn filters() -> [Filter; 3] {
    let keys = |column: usize, ranges: &[(u64, u64)]| Predicate::Keys { column: ColumnId(column), ranges: ranges.to_vec() };
    let area = Region::of_boxes(vec![TileId::new(2, 1, 1).unwrap().world_box()]);
    let scattered: Vec<(u64, u64)> = (0..40).map(|i| (i * 250, i * 250 + 200)).collect();
    let nested = Predicate::And(vec![
        // Passed by whole blocks.
        keys(1, &[(0, u64::MAX)]),
        Predicate::Or(vec![keys(1, &[(0, 4_000)]), Predicate::Outside(area)]),
        Predicate::Or(vec![
            Predicate::And(vec![keys(1, &[(2_000, 9_000)]), keys(1, &[(0, 3_000), (3_002, 8_999)]), keys(1, &scattered)]),
            keys(1, &[(1, 50)]),
        ]),
        keys(0, &[(0, 40), (42, 90), (200, 300)]),
        keys(2, &[(3_000, 900_000), (1 << 33, 1 << 34)]),
        keys(3, &[(0, 0xC0A0 << 48), (0xC0A1 << 48, u64::MAX)]),
    ]);
    [Filter::all(), Filter::new(nested, "nested".into()), Filter::new(Predicate::Nothing, "nothing".into())]
}

#[test]
fn cpu_and_gpu_agree_on_large_parts_and_many_groups() {
    let Some(gpu) = gpu() else { return };
    for part_points in [1 << 23, 70_001] {
        let (_folder, dataset) = large(part_points);
        let (cpu, gpu) = (CpuEngine::new(dataset.clone()), GpuEngine::new(gpu.clone(), dataset.clone()));
        let by_name = Arc::new(Groups::by_column(&dataset, ColumnId(0), &[]).unwrap());
        assert_eq!(by_name.len(), crate::engine::GROUPS_MAX);
        for filter in filters() {
            compare(&cpu, &gpu, &filter, &Arc::new(Groups::none(&dataset)), &[0, 1, 5, 8, 9, 10, 13, 16, 20, 24]);
            compare(&cpu, &gpu, &filter, &by_name, &[0, 7, 9, 24]);
        }
    }
}

#[test]
fn linked_histograms_are_the_same_on_both() {
    let Some(gpu) = gpu() else { return };
    let (_folder, dataset) = large(70_001);
    let (cpu, gpu) = (CpuEngine::new(dataset.clone()), GpuEngine::new(gpu, dataset.clone()));
    let [_, nested, _] = filters();
    let brush = |column: usize, ranges: &[(u64, u64)]| Brush { column: ColumnId(column), ranges: ranges.to_vec() };
    let histogram =
        |column: usize, edges: &[u64]| HistogramRequest { column: ColumnId(column), bins: Bins::Edges(edges.to_vec()) };
    let area = Region::of_boxes(vec![TileId::new(1, 0, 0).unwrap().world_box()]);
    let by_name = Groups::by_column(&dataset, ColumnId(0), &[]).unwrap();
    for (base, groups, area) in [
        (Predicate::All, Groups::none(&dataset), None),
        (nested.predicate().clone(), Groups::none(&dataset), Some(area.clone())),
        (Predicate::All, by_name, Some(area)),
    ] {
        let question = LinkedQuestion {
            base,
            brushes: vec![brush(1, &[(500, 4_000), (6_000, 7_000)]), brush(2, &[(0, 700_000)]), brush(0, &[(3, 80)])],
            histograms: vec![histogram(1, &[1, 50, 5_000]), histogram(3, &[1, 1 << 63, u64::MAX]), histogram(2, &[1, 500_000])],
            groups: Arc::new(groups),
            area,
            active: None,
        };
        let never = Cancel::never();
        assert_eq!(cpu.linked_counts(&question, &never).unwrap(), gpu.linked_counts(&question, &never).unwrap());
    }
}

/// The parts of every segment.
fn parts_by_segment(engine: &GpuEngine) -> Vec<usize> {
    engine.segments.segments.iter().map(|segment| segment.parts.len()).collect()
}

#[test]
fn cpu_and_gpu_agree_on_several_segments_of_several_parts() {
    // Arrays of a sixteenth of this: 16 blocks of 8-byte keys.
    let options = GpuOptions { budget_bytes: Some(8 << 20), ..GpuOptions::default() };
    let Some(gpu) = own_gpu(&options) else { return };
    let (_folder, dataset) = large(20_000);
    let (cpu, gpu) = (CpuEngine::new(dataset.clone()), GpuEngine::new(gpu, dataset.clone()));
    assert_eq!(parts_by_segment(&gpu), [3, 3, 3, 3, 3]);
    for filter in filters() {
        compare(&cpu, &gpu, &filter, &Arc::new(Groups::none(&dataset)), &[0, 7, 9, 13, 22]);
    }
}

#[test]
fn a_batch_of_tiles_is_one_dispatch_a_segment() {
    let (_folder, dataset) = large(20_000);
    let groups = Arc::new(Groups::none(&dataset));
    let never = Cancel::never();
    let zoom = |z: u8| -> Vec<TileId> {
        (0..1u32 << z).flat_map(|x| (0..1u32 << z).map(move |y| TileId::new(z, x, y).unwrap())).collect()
    };
    // The budget, the tiles (64, and as many as such a small budget has room for at a time), the parts of every segment.
    for (budget_bytes, tiles, parts) in [(None, zoom(3), vec![15]), (Some(8 << 20), zoom(1), vec![3; 5])] {
        let Some(gpu) = own_gpu(&GpuOptions { budget_bytes, ..GpuOptions::default() }) else { return };
        let engine = GpuEngine::new(gpu.clone(), dataset.clone());
        assert_eq!(parts_by_segment(&engine), parts);
        let all = engine.select(&Arc::new(Filter::all()), &groups, &never).unwrap();
        let dispatches = || gpu.run(|device| Ok(device.dispatches())).unwrap();
        let before = dispatches();
        let counted = engine.count(&all, &tiles, &never).unwrap();
        assert_eq!(dispatches() - before, parts.len() as u64);
        assert_eq!(counted.iter().map(CountGrid::total).sum::<u64>(), 300_000);
    }
}

#[test]
fn the_spine_of_a_rank_goes_round() {
    // Not a fault: with 256 sums at a time it takes 33 million points to go round.
    let broken = Some(("const SPINE: u32 = 256u;", "const SPINE: u32 = 2u;"));
    let Some(gpu) = own_gpu(&GpuOptions { broken, ..GpuOptions::default() }) else { return };
    let (_folder, dataset) = large(1 << 23);
    let (cpu, gpu) = (CpuEngine::new(dataset.clone()), GpuEngine::new(gpu, dataset.clone()));
    compare(&cpu, &gpu, &filters()[1], &Arc::new(Groups::none(&dataset)), &[0, 13]);
}

#[test]
fn dispatches_wider_than_the_device_go_on_in_the_next_row() {
    let Some(gpu) = gpu() else { return };
    let (_folder, dataset) = large(1 << 23);
    let (cpu, engine) = (CpuEngine::new(dataset.clone()), GpuEngine::new(gpu.clone(), dataset.clone()));
    gpu.run(|device| {
        device.set_workgroups_across_max(7);
        Ok(())
    })
    .unwrap();
    compare(&cpu, &engine, &filters()[1], &Arc::new(Groups::none(&dataset)), &[0, 5, 20]);
}

/// Answers of several questions at a time come back in turn, each to whoever asked.
#[test]
fn many_who_ask_at_once_each_get_their_own_answer() {
    let Some(gpu) = gpu() else { return };
    let (_folder, dataset) = large(20_000);
    let (cpu, engine) = (CpuEngine::new(dataset.clone()), GpuEngine::new(gpu, dataset.clone()));
    let groups = Arc::new(Groups::none(&dataset));
    let never = Cancel::never();
    let [all, nested, _] = filters().map(Arc::new);
    std::thread::scope(|scope| {
        for asker in 0..6u32 {
            let (cpu, engine, groups, never) = (&cpu, &engine, &groups, &never);
            let filter = if asker % 2 == 0 { &all } else { &nested };
            scope.spawn(move || {
                let (on_cpu, on_gpu) =
                    (cpu.select(filter, groups, never).unwrap(), engine.select(filter, groups, never).unwrap());
                assert_eq!(on_cpu.counts, on_gpu.counts);
                for z in 0..8 {
                    let place = WorldPoint { x: (1 << 30) + (asker << 20), y: 3 << 29 };
                    let tile = [TileId::containing(place, Zoom::new(z).unwrap())];
                    assert!(cpu.count(&on_cpu, &tile, never).unwrap() == engine.count(&on_gpu, &tile, never).unwrap());
                }
            });
        }
    });
}

#[test]
fn a_cancelled_question_is_not_answered() {
    let Some(gpu) = gpu() else { return };
    let (_folder, dataset) = large(1 << 23);
    let engine = GpuEngine::new(gpu, dataset.clone());
    let groups = Arc::new(Groups::none(&dataset));
    let [all, filter, _] = filters();
    let all = engine.select(&Arc::new(all), &groups, &Cancel::never()).unwrap();
    let cancel = Cancel::never();
    cancel.cancel();
    assert!(matches!(engine.select(&Arc::new(filter), &groups, &cancel), Err(EngineError::Cancelled)));
    let tile = [TileId::new(0, 0, 0).unwrap()];
    assert!(matches!(engine.count(&all, &tile, &cancel), Err(EngineError::Cancelled)));
    assert_eq!(engine.count(&all, &tile, &Cancel::never()).unwrap()[0].total(), 300_000);
}

#[test]
fn a_selection_of_another_engine_is_refused() {
    let Some(gpu) = gpu() else { return };
    let (_folder, dataset) = large(1 << 23);
    let groups = Arc::new(Groups::none(&dataset));
    let foreign = CpuEngine::new(dataset.clone()).select(&Arc::new(Filter::all()), &groups, &Cancel::never()).unwrap();
    let answer = GpuEngine::new(gpu, dataset).count(&foreign, &[TileId::new(0, 0, 0).unwrap()], &Cancel::never());
    assert!(matches!(answer, Err(EngineError::Internal(_))));
}
