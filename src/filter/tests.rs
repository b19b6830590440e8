//! Filters against brute force: what a bound filter selects is what SQL's three-valued logic says of every decoded row.

use super::*;
use crate::dataset::testing::{TestColumn, dataset};
use crate::world::WorldPoint;
use proptest::prelude::*;

/// Where a predicate is true, asked point by point.
fn selects(predicate: &Predicate, key: &dyn Fn(ColumnId) -> u64, point: WorldPoint) -> bool {
    match predicate {
        Predicate::All => true,
        Predicate::Nothing => false,
        Predicate::And(terms) => terms.iter().all(|term| selects(term, key, point)),
        Predicate::Or(terms) => terms.iter().any(|term| selects(term, key, point)),
        Predicate::Keys { column, ranges } => {
            assert!(!ranges.is_empty() && ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{ranges:?}");
            ranges.iter().any(|&(from, to)| (from..=to).contains(&key(*column)))
        }
        Predicate::Inside(region) => region.contains(point),
        Predicate::Outside(region) => !region.contains(point),
    }
}

/// Positions (over all parts) that a filter selects, and those that its rows, decoded and asked one by one, pass.
fn both_ways(text: &str, sample: &Dataset) -> (Vec<usize>, Vec<usize>) {
    let expr = parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).expect("there is text");
    let filter = Filter::bind(&expr, sample).unwrap_or_else(|e| panic!("{text}: {e}"));
    let rows = RowFilter::new(&expr, &Schema::of_dataset(sample)).unwrap();
    let (mut by_key, mut by_value) = (Vec::new(), Vec::new());
    let mut place = 0;
    for part in &sample.parts {
        for position in 0..part.rows() {
            let point = part.key(position).world();
            let key = |column: ColumnId| part.column(column).get(position as usize);
            if selects(filter.predicate(), &key, point) {
                by_key.push(place);
            }
            let values: Vec<_> = (0..sample.columns().len()).map(|c| sample.value(ColumnId(c), key(ColumnId(c)))).collect();
            if rows.passes(&|column| ValueRef::from(&values[column]), Some(point)) {
                by_value.push(place);
            }
            place += 1;
        }
    }
    let again = Filter::parse(filter.canonical(), sample).unwrap_or_else(|e| panic!("{}: {e}", filter.canonical()));
    assert_eq!(again.canonical(), filter.canonical(), "{text}");
    assert_eq!(again.predicate(), filter.predicate(), "{text} and {}", filter.canonical());
    (by_key, by_value)
}

fn fixed() -> (tempfile::TempDir, Dataset) {
    let n = 60i64;
    let points: Vec<WorldPoint> = (0..n as u32).map(|i| WorldPoint { x: i * 71_582_788, y: i << 26 }).collect();
    let text = |i: i64| (i % 6 > 0).then(|| ["", "GSM", "LTE", "lte 4", "50%_off", "Zoë"][(i % 6) as usize].to_owned());
    let columns = [
        ("radio", TestColumn::Text((0..n).map(text).collect())),
        ("range", TestColumn::Integer((0..n).map(|i| (i % 7 > 0).then_some(i * 3 - 20)).collect())),
        ("cell", TestColumn::Integer((0..n).map(|i| Some(i64::MAX - i)).collect())),
        ("Gas Produced, MCF", TestColumn::Float((0..n).map(|i| (i % 5 > 0).then_some((i - 20) as f64 / 10.0)).collect())),
        ("created", TestColumn::Timestamp((0..n).map(|i| (i % 9 > 0).then_some((i - 30) * 500_000)).collect())),
    ];
    dataset(&points, &columns, 25)
}

#[test]
fn every_kind_of_comparison_selects_what_sql_says() {
    let (_folder, sample) = fixed();
    for (text, some) in [
        ("range > 2.5", true), ("range >= 1.0", true), ("range = 2.5", false), ("range < -1e30", false), ("range > -1e30", true),
        ("NOT range > 2.5", true), ("range <> 1", true), ("range IN (1, 4, 2.5)", true), ("range NOT IN (1, 4)", true),
        ("range NOT IN (1, NULL)", false), ("range IN (4, NULL)", true), ("range = NULL", false), ("NOT (range = NULL)", false),
        ("range IS NULL", true), ("range IS NOT NULL", true), ("range BETWEEN -5.5 AND 40", true), ("range NOT BETWEEN 0 AND 40", true),
        ("cell = 9223372036854775807", true), ("cell > 9223372036854775799.5", true), ("cell < 9223372036854775800", true),
        ("cell > 9.3e18", false), ("cell IS NULL", false), ("cell IS NOT NULL", true),
        ("\"Gas Produced, MCF\" = 0.1", true), ("\"Gas Produced, MCF\" > 0.30000000000000004", true), ("\"Gas Produced, MCF\" <= -1.8", true),
        ("radio = 'LTE'", true), ("radio <> 'LTE'", true), ("radio > 'GSM'", true), ("radio = 'nothing'", false), ("radio < 'A'", true),
        ("radio LIKE 'L%'", true), ("radio NOT LIKE '%e%'", true), ("radio LIKE '50\\%\\_off'", true), ("radio LIKE '50!%!__ff' ESCAPE '!'", true),
        ("radio ILIKE 'lTe%'", true), ("CASEI(radio) = CASEI('lte')", true), ("CASEI(radio) <> CASEI('zOË')", true), ("radio LIKE ''", false),
        ("created < TIMESTAMP('1970-01-01T00:00:00Z')", true), ("created >= TIMESTAMP('1969-12-31T23:59:59.5Z')", true),
        ("created = TIMESTAMP('1970-01-01T00:00:00.5000004Z')", false), ("created > TIMESTAMP('1970-01-01T00:00:00.4999999Z')", true),
        ("created <= DATE('1970-01-01')", true), ("DATE('1970-01-01') < created", true),
        ("range > 2 AND (radio = 'GSM' OR created IS NULL)", true), ("NOT (range > 2 AND radio = 'GSM')", true),
        ("range > 2 OR range <= 2", true), ("radio = 'GSM' AND radio = 'LTE'", false), ("TRUE", true), ("FALSE", false),
        ("S_INTERSECTS(geometry, BBOX(-90, -60, 45, 80))", true), ("NOT S_INTERSECTS(geometry, BBOX(-90, -60, 45, 80))", true),
        ("S_INTERSECTS(geometry, BBOX(100, -85, -100, 85))", true), ("S_INTERSECTS(geometry, POLYGON((-170 80, 0 80, 0 -20, -170 80)))", true),
        ("range IS NULL OR S_INTERSECTS(geometry, BBOX(0,0,1,1)) OR S_INTERSECTS(geometry, BBOX(0,-80,180,0))", true),
    ] {
        let (by_key, by_value) = both_ways(text, &sample);
        assert_eq!(by_key, by_value, "{text}");
        assert_eq!(!by_key.is_empty(), some, "{text}");
    }
}

#[test]
fn what_selects_everything_is_known_to() {
    let (_folder, sample) = fixed();
    for text in ["", "TRUE", "cell > 0", "cell IS NOT NULL", "range IS NULL OR range IS NOT NULL", "cell > 0 AND NOT cell < 5"] {
        let filter = Filter::parse(text, &sample).unwrap();
        assert!(filter.is_all(), "{text}: {filter:?}");
        assert_eq!(filter.canonical(), "");
    }
    assert_eq!(Filter::parse("cell < 0 OR radio = 'x'", &sample).unwrap().canonical(), "FALSE");
}

#[test]
fn columns_and_types_are_checked() {
    let (_folder, sample) = fixed();
    for (text, part) in [
        ("rnage > 5", "did you mean 'range'?"),
        ("Radio = 'GSM'", "did you mean 'radio'? the columns are radio, range,"),
        ("clel = 1", "did you mean 'cell'?"),
        ("cel IS NULL", "did you mean 'cell'?"),
        ("zzz = 1", "the columns are radio, range, cell, Gas Produced, MCF, created"),
        ("lat > 50", "filter by place with S_INTERSECTS"),
        ("lon IS NULL", "S_INTERSECTS(geometry"),
        ("range = 'far'", "column 'range' (character 1) is an integer, and 'far' is not: write a value such as 42"),
        ("radio = 5", "write a value such as 'text'"),
        ("radio > TRUE", "text, and TRUE is not"),
        ("created > 5", "TIMESTAMP('2024-05-31T12:00:00Z')"),
        ("created > '2020-01-01'", "is a time"),
        ("range LIKE '1%'", "LIKE is not"),
        ("NOT (cell = 1 AND \"Gas Produced, MCF\" = '1')", "a number"),
    ] {
        let error = Filter::parse(text, &sample).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

fn term() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        (-30i32..180).prop_map(|n| n.to_string()),
        (-300i32..1800).prop_map(|n| format!("{}", f64::from(n) / 10.0)),
        Just("1e3".to_owned()), Just("-0".to_owned()), Just("9223372036854775800.5".to_owned()),
    ];
    let column = proptest::sample::select(vec!["range", "cell", "\"Gas Produced, MCF\""]);
    let sign = proptest::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let word = proptest::sample::select(vec!["'GSM'", "'LTE'", "'lte 4'", "'Z'", "''", "NULL"]);
    let pattern = proptest::sample::select(vec!["'%'", "'_T%'", "'%e%'", "'l%4'", "'50\\%%'", "'zo_'"]);
    let time = (-40i64..40).prop_map(|n| {
        format!("TIMESTAMP('{}')", jiff::Timestamp::from_millisecond(n * 250).unwrap())
    });
    prop_oneof![
        (column.clone(), sign.clone(), number.clone()).prop_map(|(c, s, n)| format!("{c} {s} {n}")),
        (column.clone(), number.clone(), number.clone()).prop_map(|(c, a, b)| format!("{c} NOT BETWEEN {a} AND {b}")),
        (column, proptest::collection::vec(number, 1..4)).prop_map(|(c, n)| format!("{c} IN ({})", n.join(", "))),
        (sign.clone(), word.clone()).prop_map(|(s, w)| format!("radio {s} {w}")),
        proptest::collection::vec(word, 1..4).prop_map(|w| format!("radio NOT IN ({})", w.join(", "))),
        (proptest::sample::select(vec!["LIKE", "NOT LIKE", "ILIKE"]), pattern).prop_map(|(l, p)| format!("radio {l} {p}")),
        (sign, time).prop_map(|(s, t)| format!("created {s} {t}")),
        proptest::sample::select(vec!["range IS NULL", "created IS NOT NULL", "TRUE", "FALSE", "cell IS NULL"]).prop_map(str::to_owned),
        (-180i32..180, -80i32..70).prop_map(|(w, s)| format!("S_INTERSECTS(geometry, BBOX({w},{s},{},{}))", w + 90, s + 15)),
    ]
}

fn text() -> impl Strategy<Value = String> {
    term().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(|terms| format!("({})", terms.join(" AND "))),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(|terms| format!("({})", terms.join(" OR "))),
            inner.prop_map(|term| format!("NOT ({term})")),
        ]
    })
}

#[test]
fn a_bound_filter_selects_what_sql_says_of_every_row() {
    let (_folder, sample) = fixed();
    proptest!(ProptestConfig::with_cases(600), |(text in text())| {
        let (by_key, by_value) = both_ways(&text, &sample);
        prop_assert_eq!(by_key, by_value, "{}", text);
    });
}

#[test]
fn values_between_and_at_the_ends_of_keys_are_exact() {
    proptest!(ProptestConfig::with_cases(40), |(
        integers in proptest::collection::vec(proptest::option::of(any::<i64>()), 1..40),
        floats in proptest::collection::vec(proptest::option::of(proptest::num::f64::ANY), 1..40),
        probe in any::<i64>(), probe_float in proptest::num::f64::NORMAL, sign in 0usize..6,
    )| {
        // A span of all 2^64 integers has no affine encoding: ingest stores such a column as a dictionary or as floats.
        let integers: Vec<Option<i64>> = integers.into_iter().map(|v| v.map(|v| v / 2)).collect();
        let floats: Vec<Option<f64>> = floats.into_iter().map(|v| v.filter(|v| !v.is_nan())).collect();
        let n = integers.len().min(floats.len());
        let points: Vec<WorldPoint> = (0..n as u32).map(|i| WorldPoint { x: i << 20, y: i << 22 }).collect();
        let near = integers[0].unwrap_or(probe);
        let near_float = floats[0].filter(|v| v.is_finite()).unwrap_or(probe_float);
        let columns = [("i", TestColumn::Integer(integers[..n].to_vec())), ("f", TestColumn::Float(floats[..n].to_vec()))];
        let (_folder, sample) = dataset(&points, &columns, 16);
        let sign = ["=", "<>", "<", "<=", ">", ">="][sign];
        for text in [
            format!("i {sign} {probe}"), format!("i {sign} {near}"), format!("NOT i {sign} {near}.5"), format!("i {sign} {probe_float:e}"),
            format!("f {sign} {probe_float:e}"), format!("f {sign} {near_float:e}"), format!("f {sign} {probe}"),
        ] {
            let (by_key, by_value) = both_ways(&text, &sample);
            prop_assert_eq!(by_key, by_value, "{}", text);
        }
    });
}
