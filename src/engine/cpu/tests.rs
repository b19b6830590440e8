//! The CPU engine against brute force: every point asked, one by one.

use super::*;
use crate::dataset::testing::{TestColumn, dataset};
use crate::dataset::{ColumnId, Value};
use crate::engine::{GroupKind, testing};
use crate::filter::Predicate;
use crate::world::WorldPoint;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn everything_an_engine_answers_is_what_a_scan_of_the_points_says(
        sample in testing::sample(), question in testing::question(),
    ) {
        let (_folder, dataset) = sample.open();
        testing::check(&CpuEngine::new(dataset.clone()), &dataset, &question)?;
    }
}

#[test]
fn every_comparison_selects_what_its_definition_says() {
    let (_folder, dataset) = testing::varied();
    testing::check_comparisons(&CpuEngine::new(dataset.clone()), &dataset);
}

#[test]
fn a_dataset_without_points_has_nothing_anywhere() {
    testing::check_empty(|dataset| Arc::new(CpuEngine::new(dataset)));
}

#[test]
fn the_tiles_of_a_zoom_sum_to_all_points() {
    let points: Vec<WorldPoint> = (0..5000u32).map(|i| WorldPoint { x: i.wrapping_mul(0x9E37_79B9), y: i.wrapping_mul(i) }).collect();
    let (_folder, dataset) = dataset(&points, &[], 700);
    let engine = CpuEngine::new(Arc::new(dataset));
    let groups = Arc::new(Groups::none(&engine.dataset));
    let selection = engine.select(&Arc::new(Filter::all()), &groups, &Cancel::never()).unwrap();
    for z in 0..=4u8 {
        let tiles: Vec<TileId> =
            (0..1u32 << z).flat_map(|x| (0..1u32 << z).map(move |y| TileId::new(z, x, y).unwrap())).collect();
        let grids = engine.count(&selection, &tiles, &Cancel::never()).unwrap();
        assert_eq!(grids.iter().map(CountGrid::total).sum::<u64>(), 5000, "zoom {z}");
    }
}

#[test]
fn rare_values_share_a_group_and_wanted_ones_do_not() {
    let points = vec![WorldPoint { x: 7, y: 9 }; 400];
    let names = (0..400).map(|i| (i > 0).then(|| format!("ship {:03}", i / 2 % 150))).collect();
    let (_folder, dataset) = dataset(&points, &[("name", TestColumn::Text(names))], 1000);
    let groups = Groups::by_column(&dataset, ColumnId(0), &["ship 149".to_owned()]).unwrap();
    assert_eq!(groups.len(), crate::engine::GROUPS_MAX);
    assert!(groups.iter().any(|group| matches!(&group.kind, GroupKind::Value { value: Value::Text(name), .. } if name == "ship 149")));
    assert!(matches!(groups.iter().nth(30).unwrap().kind, GroupKind::Other { values: 120 }));
    assert_eq!(groups.iter().last().unwrap().kind, GroupKind::Null);
    assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), 400);
    let dataset = Arc::new(dataset);
    let engine = CpuEngine::new(dataset);
    let selection = engine.select(&Arc::new(Filter::all()), &Arc::new(groups.clone()), &Cancel::never()).unwrap();
    assert_eq!(selection.counts, groups.iter().map(|group| group.count).collect::<Vec<_>>());
}

#[test]
fn a_cancelled_question_is_not_answered() {
    let (_folder, dataset) = dataset(&[WorldPoint { x: 1, y: 1 }], &[], 10);
    let engine = CpuEngine::new(Arc::new(dataset));
    let cancel = Cancel::never();
    cancel.cancel();
    let groups = Arc::new(Groups::none(&engine.dataset));
    let filter = Arc::new(Filter::new(Predicate::And(vec![Predicate::All]), "x".into()));
    assert!(matches!(engine.select(&filter, &groups, &cancel), Err(EngineError::Cancelled)));
}
