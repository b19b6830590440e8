//! The crossfilter against brute force: every histogram by asking every row, at every step of a drag.

use super::*;
use crate::dataset::testing::{TestColumn, dataset};
use crate::dataset::Value;
use crate::world::WorldPoint;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

#[derive(Clone, Debug)]
struct Row {
    point: WorldPoint,
    radio: Option<String>,
    range: Option<i64>,
    speed: Option<f64>,
    created: Option<i64>,
}

fn row() -> impl Strategy<Value = Row> {
    (
        (any::<u32>(), (1u32 << 30)..(3 << 30)),
        proptest::option::weighted(0.9, proptest::sample::select(vec!["GSM", "LTE", "NR", "UMTS"])),
        proptest::option::weighted(0.9, prop_oneof![0i64..40, 0i64..200_000]),
        proptest::option::weighted(0.9, -3.0f64..9.0),
        proptest::option::weighted(0.9, 0i64..86_400_000),
    )
        .prop_map(|((x, y), radio, range, speed, created)| Row {
            point: WorldPoint { x, y },
            radio: radio.map(str::to_owned),
            range,
            speed,
            created: created.map(|ms| ms * 1000),
        })
}

fn open(rows: &[Row], part_points: usize) -> (tempfile::TempDir, Arc<Dataset>) {
    let points: Vec<WorldPoint> = rows.iter().map(|row| row.point).collect();
    let columns = [
        ("radio", TestColumn::Text(rows.iter().map(|row| row.radio.clone()).collect())),
        ("range", TestColumn::Integer(rows.iter().map(|row| row.range).collect())),
        ("speed", TestColumn::Float(rows.iter().map(|row| row.speed).collect())),
        ("created", TestColumn::Timestamp(rows.iter().map(|row| row.created).collect())),
    ];
    let (folder, dataset) = dataset(&points, &columns, part_points);
    (folder, Arc::new(dataset))
}

fn on_cpu(dataset: &Arc<Dataset>) -> Crossfilter {
    Crossfilter::new(dataset.clone(), Arc::new(CpuEngine::new(dataset.clone())))
}

fn ms(value: &Json) -> Option<i64> {
    value.as_str().map(|text| text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

/// Whether a row passes one brush, by the definition.
fn passes(row: &Row, column: &str, brush: &Json, dataset: &Dataset) -> bool {
    let items = brush.as_array().unwrap();
    let max = dataset.column(dataset.column_id(column).unwrap()).max.as_f64();
    let within = |value: Option<f64>, low: Option<f64>, high: Option<f64>| {
        let Some(value) = value else { return low.is_none() && high.is_none() };
        low.is_none_or(|low| value >= low)
            && high.is_none_or(|high| if max.is_some_and(|max| high >= max) { value <= high } else { value < high })
    };
    match column {
        "radio" => items.iter().any(|item| item.as_str() == row.radio.as_deref()),
        "range" => within(row.range.map(|v| v as f64), items[0].as_f64(), items[1].as_f64()),
        "speed" => within(row.speed, items[0].as_f64(), items[1].as_f64()),
        _ => within(row.created.map(|v| v as f64), ms(&items[0]).map(|v| v as f64), ms(&items[1]).map(|v| v as f64)),
    }
}

fn value_of(row: &Row, column: &str) -> Option<f64> {
    match column {
        "range" => row.range.map(|v| v as f64),
        "speed" => row.speed,
        _ => row.created.map(|v| v as f64),
    }
}

fn edge(value: &Json) -> f64 {
    value.as_f64().or_else(|| ms(value).map(|v| v as f64)).unwrap()
}

/// Compares an answer with what asking every row says.
fn check(request: &CrossfilterRequest, answer: &CrossfilterAnswer, rows: &[Row], dataset: &Dataset, groups: Option<&Groups>) {
    let area = request.bbox.map(|bbox| area_of(bbox).unwrap());
    let inside = |row: &&Row| area.as_ref().is_none_or(|area| area.contains(row.point));
    let passing = |row: &&Row, but: &str| {
        request.brushes.iter().all(|(column, brush)| column == but || passes(row, column, brush, dataset))
    };
    let group_of = |row: &Row| {
        let wanted = row.radio.as_ref().map_or(Value::Null, |radio| Value::Text(radio.clone()));
        groups.unwrap().iter().position(|group| match &group.kind {
            crate::engine::GroupKind::Value { value, .. } => *value == wanted,
            crate::engine::GroupKind::Null => wanted == Value::Null,
            _ => false,
        })
    };
    assert_eq!(answer.selected_total, rows.iter().filter(|row| passing(row, "")).count() as u64);
    assert_eq!(answer.selected, rows.iter().filter(inside).filter(|row| passing(row, "")).count() as u64);
    for (column, histogram) in &answer.histograms {
        let counted: Vec<&Row> = rows.iter().filter(inside).filter(|row| passing(row, column)).collect();
        assert_eq!(histogram["total"].as_u64().unwrap(), counted.len() as u64, "{column}");
        let bins = histogram["bins"].as_array().unwrap();
        for (i, bin) in bins.iter().enumerate() {
            let is_in = |row: &&&Row| match bin.get("value") {
                Some(value) => row.radio.as_deref() == value.as_str(),
                None => value_of(row, column).is_some_and(|value| {
                    let (low, high) = (edge(&bin["lo"]), edge(&bin["hi"]));
                    value >= low && (value < high || i + 1 == bins.len() && value <= high)
                }),
            };
            let expected: Vec<&&Row> = counted.iter().filter(is_in).collect();
            assert_eq!(bin["count"].as_u64().unwrap(), expected.len() as u64, "{column} {bin}");
            if let Some(groups) = groups {
                let counts: Vec<u64> = bin["counts"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
                let by_group = (0..groups.len()).map(|g| expected.iter().filter(|row| group_of(row) == Some(g)).count() as u64);
                assert_eq!(counts, by_group.collect::<Vec<_>>(), "{column} {bin}");
            }
        }
    }
}

#[test]
fn every_step_of_a_drag_is_what_asking_every_row_says() {
    proptest!(ProptestConfig::with_cases(48), |(
        rows in proptest::collection::vec(row(), 1..400), part_points in prop_oneof![Just(1000usize), 20usize..200],
        low in 0usize..64, steps in proptest::collection::vec((0usize..64, 0usize..16), 3..6), by: bool, boxed: bool,
        dragged in proptest::sample::select(vec!["range", "speed", "created"]), log: bool,
    )| {
        let (_folder, dataset) = open(&rows, part_points);
        let crossfilter = on_cpu(&dataset);
        let groups = by.then(|| Arc::new(Groups::by_column(&dataset, ColumnId(0), &[]).unwrap()));
        let scale = if log { "log10" } else { "linear" };
        let mut request: CrossfilterRequest = serde_json::from_value(json!({
            "bbox": if boxed { json!([-100, -50, 120, 40]) } else { Json::Null },
            "zoom": 3,
            "brushes": {"radio": ["LTE", "GSM", null]},
            "columns": ["radio", {"column": "range", "bins": 20, "scale": scale}, {"column": "speed"}, "created"],
        })).unwrap();
        let never = Cancel::never();
        let first = crossfilter.answer(&request, groups.as_ref(), &never).unwrap();
        check(&request, &first, &rows, &dataset, groups.as_deref());
        // Brushes as the client makes them: a fraction of a bin from its lower edge.
        let bins = first.histograms[dragged]["bins"].as_array().unwrap().clone();
        let at = |bin: usize, step: usize| {
            let bin = &bins[bin % bins.len()];
            let fraction = step as f64 / BRUSH_STEPS as f64;
            let (low, high) = (edge(&bin["lo"]), edge(&bin["hi"]));
            if dragged == "created" {
                let ms = (low / 1000.0 + (high / 1000.0 - low / 1000.0) * fraction).round() as i64;
                json!(jiff::Timestamp::from_millisecond(ms).unwrap().to_string())
            } else {
                json!(low + (high - low) * fraction)
            }
        };
        for (bin, step) in steps {
            let ends = [at(low, 0), at(bin, step)];
            request.brushes.insert(dragged.to_owned(), json!(ends));
            let answer = crossfilter.answer(&request, groups.as_ref(), &never).unwrap();
            check(&request, &answer, &rows, &dataset, groups.as_deref());
        }
        // And one that no slice begins with.
        if dragged != "created" {
            request.brushes.insert(dragged.to_owned(), json!([null, 1.2345678]));
            let answer = crossfilter.answer(&request, groups.as_ref(), &never).unwrap();
            check(&request, &answer, &rows, &dataset, groups.as_deref());
        }
        // The filter says the same.
        let last = crossfilter.answer(&request, groups.as_ref(), &never).unwrap();
        let filter = Arc::new(Filter::parse(&last.filter, &dataset).unwrap());
        let all = Arc::new(Groups::none(&dataset));
        let selection = crossfilter.engine.select(&filter, &all, &never).unwrap();
        prop_assert_eq!(selection.total(), last.selected_total);
    });
}

fn towers(n: usize) -> Vec<Row> {
    (0..n)
        .map(|i| Row {
            point: WorldPoint { x: (i as u32).wrapping_mul(0x9E37_79B9), y: (1 << 30) + (i as u32).wrapping_mul(77_777) % (1 << 31) },
            radio: (i % 11 > 0).then(|| format!("radio {:03}", i % 300)),
            range: (i % 7 > 0).then_some((i * i % 90_000) as i64),
            speed: Some(i as f64 / 10.0),
            created: Some(i as i64 * 1_000_000),
        })
        .collect()
}

#[test]
fn a_dragged_brush_is_answered_from_a_cube() {
    let rows = towers(3000);
    let (_folder, dataset) = open(&rows, 1000);
    let crossfilter = on_cpu(&dataset);
    let ask = |hi: Json| {
        let request: CrossfilterRequest = serde_json::from_value(json!({
            "brushes": {"range": [1000, hi], "speed": [5, null]}, "columns": ["radio", "range", "speed", "created"],
        })).unwrap();
        crossfilter.answer(&request, None, &Cancel::never())
    };
    let cubes = || crossfilter.cubes.len();
    ask(json!(20_000)).unwrap();
    assert_eq!(cubes(), 0, "nothing is known to move yet");
    ask(json!(21_000)).unwrap();
    assert_eq!(cubes(), 1, "the second question differs in one brush");
    // A pass would notice that it is cancelled; a cube has nothing to stop.
    let cancelled = Cancel::never();
    cancelled.cancel();
    let edge = crossfilter.answer(&serde_json::from_value(json!({
        "brushes": {"range": [1000, null], "speed": [5, null]}, "columns": ["radio", "range", "speed", "created"],
    })).unwrap(), None, &cancelled);
    assert!(edge.is_ok(), "{edge:?}");
    let ranked = ask(json!(21_000)).unwrap();
    let radio = &ranked.histograms["radio"];
    assert_eq!(radio["bins"].as_array().unwrap().len(), crate::histogram::VALUES_DEFAULT);
    assert!(radio["other"]["values"].as_u64().unwrap() > 200 && radio["nulls"].as_u64().unwrap() > 0);
    let in_bins: u64 = radio["bins"].as_array().unwrap().iter().map(|bin| bin["count"].as_u64().unwrap()).sum();
    let all = in_bins + radio["other"]["count"].as_u64().unwrap() + radio["nulls"].as_u64().unwrap();
    assert_eq!(all, radio["total"].as_u64().unwrap());
}

#[test]
fn a_brush_that_is_about_to_be_dragged_has_its_cube_before_the_first_step() {
    let rows = towers(3000);
    let (_folder, dataset) = open(&rows, 1000);
    let crossfilter = on_cpu(&dataset);
    let request = |range: Json, active: Option<&str>| -> CrossfilterRequest {
        let mut brushes = json!({"speed": [5, null]});
        if !range.is_null() {
            brushes["range"] = range;
        }
        serde_json::from_value(json!({"brushes": brushes, "columns": ["range", "speed", "created"], "active": active})).unwrap()
    };
    let never = Cancel::never();
    // The pointer comes to a chart without a brush, and then there is one.
    let first = request(Json::Null, Some("range"));
    let unbrushed = crossfilter.answer(&first, None, &never).unwrap();
    assert_eq!(crossfilter.cubes.len(), 0, "the answer comes first");
    crossfilter.prepare(&crossfilter.question(&first, None).unwrap()).unwrap();
    assert_eq!(crossfilter.cubes.len(), 1);
    // A pass would notice that it is cancelled; a cube has nothing to stop.
    let cancelled = Cancel::never();
    cancelled.cancel();
    let edge = unbrushed.histograms["range"]["bins"][7]["lo"].clone();
    let step = request(json!([null, edge]), None);
    let answer = crossfilter.answer(&step, None, &cancelled).unwrap();
    assert_eq!(answer, on_cpu(&dataset).answer(&step, None, &never).unwrap());
    // And then there is none again.
    assert_eq!(crossfilter.answer(&request(Json::Null, None), None, &cancelled).unwrap(), unbrushed);
    assert!(matches!(crossfilter.question(&request(Json::Null, Some("rnage")), None), Err(CrossfilterError::Histogram(_))));
}

#[test]
fn a_step_that_comes_while_its_cube_is_built_waits_for_it() {
    let rows = towers(3000);
    let (_folder, dataset) = open(&rows, 1000);
    let crossfilter = on_cpu(&dataset);
    let request: CrossfilterRequest =
        serde_json::from_value(json!({"brushes": {"speed": [null, 100]}, "columns": ["range", "speed"], "active": "speed"})).unwrap();
    let question = crossfilter.question(&request, None).unwrap();
    let (_, context) = question.contexts().pop().unwrap();
    // Whenever the step comes, it is one of a drag.
    crossfilter.cubes.saw(std::iter::once(context.clone()));
    let (begin, begun) = std::sync::mpsc::channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (crossfilter, question, context) = (&crossfilter, &question, &context);
        scope.spawn(move || {
            crossfilter.cubes.get_or_build(context, &Cancel::never(), || {
                begin.send(()).unwrap();
                wait.recv().unwrap();
                Err(EngineError::Cancelled)
            })
        });
        begun.recv().unwrap();
        // Waiting, it notices that nobody wants it any more.
        let cancelled = Cancel::never();
        cancelled.cancel();
        let left = crossfilter.answer(&request, None, &cancelled);
        assert!(matches!(left, Err(CrossfilterError::Engine(EngineError::Cancelled))), "{left:?}");
        // And where the builder fails, whoever waits builds.
        let waiting = scope.spawn(|| crossfilter.answer(&request, None, &Cancel::never()));
        go_on.send(()).unwrap();
        let answer = waiting.join().unwrap().unwrap();
        assert_eq!(answer, on_cpu(&dataset).answer(&request, None, &Cancel::never()).unwrap());
        assert!(question.active.is_some());
    });
    assert_eq!(crossfilter.cubes.len(), 1);
}

#[test]
fn a_search_shows_only_what_it_finds() {
    let rows = towers(2000);
    let (_folder, dataset) = open(&rows, 1000);
    let crossfilter = on_cpu(&dataset);
    let column = serde_json::from_value(json!({"column": "radio", "search": "IO 01", "limit": 50})).unwrap();
    let answer = crossfilter.histogram(&column, &Arc::new(Filter::all()), None, None, &Cancel::never()).unwrap();
    assert_eq!(answer.bins.len(), 10);
    assert!(answer.bins.iter().all(|bin| matches!(bin, crate::histogram::Bin::Value { value: Value::Text(text), count, .. }
        if text.starts_with("radio 01") && *count > 0)));
}

#[test]
fn requests_that_make_no_sense_are_refused_with_a_remedy() {
    let (_folder, dataset) = open(&towers(10), 100);
    let crossfilter = on_cpu(&dataset);
    for (request, part) in [
        (json!({"brushes": {"rnage": [1, 2]}}), "did you mean 'range'?"),
        (json!({"brushes": {"range": [1]}}), "give [from, to], numbers"),
        (json!({"brushes": {"range": ["a", 2]}}), "the brush of 'range' is [\"a\",2]"),
        (json!({"brushes": {"radio": [5]}}), "list of its values"),
        (json!({"brushes": {"created": [5, 6]}}), "ISO 8601"),
        (json!({"columns": ["rnage"]}), "did you mean 'range'?"),
        (json!({"columns": [{"column": "range", "bins": 0}]}), "ask for 1 to 1024"),
        (json!({"columns": [{"column": "range", "min": 5, "max": 5}]}), "min must be less than max"),
        (json!({"bbox": [0, 10, 5, -10]}), "is not a box"),
        (json!({"filter": "range >"}), "(character 8)"),
        (json!({"columns": vec!["range"; 33]}), "at most 32"),
    ] {
        let parsed: CrossfilterRequest = serde_json::from_value(request.clone()).unwrap();
        let error = crossfilter.answer(&parsed, None, &Cancel::never()).expect_err(part).to_string();
        assert!(error.contains(part), "{request}: {error}");
    }
}
