//! Every comparison that a filter can make, on columns of every width, at the values where they turn, with nulls; and boxes across the
//! antimeridian and at the world's corners.

use super::*;
use crate::world::LonLatBox;
use std::cmp::Ordering;

/// Columns: a text, integers of two and four bytes, floats of eight and times, each with nulls. Points over the world, at its edges and beside
/// the antimeridian.
pub(crate) fn varied() -> (tempfile::TempDir, Arc<Dataset>) {
    let n = 1300usize;
    let edge = [0, 1, u32::MAX, u32::MAX - 1, 1 << 31];
    let points: Vec<WorldPoint> = (0..n as u32)
        .map(|i| match i % 4 {
            0 => WorldPoint { x: edge[i as usize / 4 % 5], y: edge[i as usize / 20 % 5] },
            1 => WorldPoint { x: (i << 18).wrapping_sub(1 << 27), y: i.wrapping_mul(0x9E37_79B9) },
            _ => WorldPoint { x: i.wrapping_mul(0x9E37_79B9), y: i.wrapping_mul(0x85EB_CA6B) },
        })
        .collect();
    let some = |i: usize| !i.is_multiple_of(11);
    let columns = [
        ("radio", TestColumn::Text((0..n).map(|i| some(i).then(|| format!("radio {}", i % 7))).collect())),
        ("size", TestColumn::Integer((0..n).map(|i| some(i + 1).then_some(i as i64 - 7)).collect())),
        ("height", TestColumn::Integer((0..n).map(|i| some(i + 2).then_some((i * i) as i64)).collect())),
        ("speed", TestColumn::Float((0..n).map(|i| some(i + 3).then_some((i as f64 - 600.0) / 7.0)).collect())),
        ("created", TestColumn::Timestamp((0..n).map(|i| some(i + 4).then_some((i as i64 - 500) * 1_000_000)).collect())),
    ];
    let (folder, dataset) = dataset(&points, &columns, 500);
    (folder, Arc::new(dataset))
}

/// Asks an engine all of them, and compares the points selected with those that the definition of the comparison names.
pub(crate) fn check_comparisons(engine: &dyn Engine, dataset: &Dataset) {
    let rows = rows(dataset);
    let groups = Arc::new(Groups::none(dataset));
    let selected = |text: &str| {
        let filter = Arc::new(Filter::parse(text, dataset).unwrap());
        engine.select(&filter, &groups, &Cancel::never()).unwrap().total()
    };
    for (name, literals) in literals() {
        let column = dataset.column_id(name).unwrap();
        let values: Vec<Value> = rows.iter().map(|row| dataset.value(column, row.1[column.0])).collect();
        let count = |passes: &dyn Fn(&Value) -> bool| values.iter().filter(|value| **value != Value::Null && passes(value)).count() as u64;
        let nulls = values.iter().filter(|value| **value == Value::Null).count() as u64;
        assert!(nulls > 50);
        assert_eq!(selected(&format!("{name} IS NULL")), nulls);
        assert_eq!(selected(&format!("{name} IS NOT NULL")), rows.len() as u64 - nulls);
        for (literal, value) in &literals {
            let is = |order: fn(Ordering) -> bool| count(&|found| order(compared(found, value)));
            for (operator, order) in [
                ("=", Ordering::is_eq as fn(Ordering) -> bool), ("<>", Ordering::is_ne), ("<", Ordering::is_lt),
                ("<=", Ordering::is_le), (">", Ordering::is_gt), (">=", Ordering::is_ge),
            ] {
                let text = format!("{name} {operator} {literal}");
                assert_eq!(selected(&text), is(order), "{text}");
                // What is neither true nor false stays so.
                assert_eq!(selected(&format!("NOT ({text})")), rows.len() as u64 - nulls - is(order), "NOT {text}");
            }
            for (other, last) in &literals {
                let between = count(&|found| compared(found, value).is_ge() && compared(found, last).is_le());
                assert_eq!(selected(&format!("{name} BETWEEN {literal} AND {other}")), between, "{name} {literal} {other}");
                let among = count(&|found| compared(found, value).is_eq() || compared(found, last).is_eq());
                assert_eq!(selected(&format!("{name} IN ({literal}, {other})")), among, "{name} {literal} {other}");
            }
        }
    }
    for edges in ["170,-60,-170,60", "-180,-85,-179,85", "179.9999999,-10,180,10", "-180,-85.06,180,85.06", "10,84,-10,85.06"] {
        let boxes = edges.parse::<LonLatBox>().unwrap().world_boxes();
        let inside = rows.iter().filter(|row| boxes.iter().any(|b| b.contains(row.0.world()))).count() as u64;
        assert!(inside > 0, "{edges}");
        assert_eq!(selected(&format!("S_INTERSECTS(geometry, BBOX({edges}))")), inside, "{edges}");
    }
}

/// By column, as a filter writes them and what they are: values that occur, next to such, between, and beyond all.
fn literals() -> [(&'static str, Vec<(String, Value)>); 5] {
    let number = |text: &str| (text.to_owned(), Value::Float(text.parse().unwrap()));
    let time = |us: i64| {
        let value = Value::Timestamp { us };
        (format!("TIMESTAMP('{value}')"), value)
    };
    let text = |text: &str| (format!("'{text}'"), Value::Text(text.to_owned()));
    [
        ("radio", ["radio 0", "radio 3", "radio 6", "radio 31", "a", "z"].map(text).to_vec()),
        ("size", ["-8", "-7", "0", "3.5", "255", "1292", "1293", "99999"].map(number).to_vec()),
        ("height", ["-1", "0", "1", "2", "65536", "1687401", "4294967296"].map(number).to_vec()),
        ("speed", ["-86", "0", "0.25", "1", "99.85714285714286", "1e300"].map(number).to_vec()),
        ("created", [-500_000_001, -500_000_000, -1, 0, 1, 798_500_000, 799_000_000].map(time).to_vec()),
    ]
}

fn compared(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        _ => a.as_f64().unwrap().partial_cmp(&b.as_f64().unwrap()).unwrap(),
    }
}
