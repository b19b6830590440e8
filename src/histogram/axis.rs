//! The edges of bins, in the units of a column's values: equal widths or equal factors of numbers, spans of the calendar.

use super::Scale;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Where bins begin and end: ascending, at least two. The last bin includes its end where that is the column's maximum.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Edges {
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    /// Microseconds since the epoch, and the unit of the calendar that a bin spans.
    Times { us: Vec<i64>, unit: &'static str },
}

/// On a logarithmic axis of floats without a lower end, values under this share of the largest are outside.
const LOG_SPAN_MIN: f64 = 1e-6;

/// Bins of whole numbers, as many numbers in each: none is wider than another by accident of rounding.
pub(super) fn integers(min: i64, max: i64, bins: usize, scale: Scale) -> Edges {
    match scale {
        Scale::Linear => {
            let span = i128::from(max) - i128::from(min) + 1;
            let width = (span + bins as i128 - 1) / bins as i128;
            let used = (span + width - 1) / width;
            let edge = |i: i128| (i128::from(min) + i * width).min(i128::from(i64::MAX)) as i64;
            Edges::Integers((0..=used).map(edge).collect())
        }
        Scale::Log10 => {
            let Edges::Numbers(edges) = numbers(min.max(1) as f64, max.max(1) as f64, bins, scale) else {
                unreachable!("numbers gives numbers")
            };
            // As float to integer conversion saturates, so do the edges.
            let mut edges: Vec<i64> = edges.iter().map(|edge| edge.ceil() as i64).collect();
            edges[0] = min.max(1);
            edges.dedup();
            let last = edges.len() - 1;
            edges[last] = edges[last].max(max).saturating_add(1);
            Edges::Integers(edges)
        }
    }
}

pub(super) fn numbers(min: f64, max: f64, bins: usize, scale: Scale) -> Edges {
    if min >= max {
        return Edges::Numbers(vec![min, if max > min { max } else { next_up(min) }]);
    }
    let n = bins as f64;
    let mut edges: Vec<f64> = match scale {
        // Halves, so that the span of all doubles does not overflow.
        Scale::Linear => (0..=bins).map(|i| min * (1.0 - i as f64 / n) + max * (i as f64 / n)).collect(),
        Scale::Log10 if max > 0.0 => {
            let low = if min > 0.0 { min } else { max * LOG_SPAN_MIN };
            let (from, to) = (low.log10(), max.log10());
            let inner = (1..bins).map(|i| 10f64.powf(from + (to - from) * (i as f64 / n)));
            std::iter::once(low).chain(inner).chain([max]).collect()
        }
        Scale::Log10 => vec![min, max],
    };
    edges.dedup_by(|b, a| *b <= *a);
    if edges.len() < 2 {
        edges.push(next_up(edges[0]));
    }
    Edges::Numbers(edges)
}

fn next_up(value: f64) -> f64 {
    let next = value + value.abs().max(1.0) * f64::EPSILON;
    if next.is_finite() { next } else { value }
}

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// Bins of the finest unit of the calendar, in UTC, of which at most `bins` span the times: seconds to years, and several
/// years where single ones are too many.
pub(super) fn times(min_us: i64, max_us: i64, bins: usize) -> Edges {
    let span = i128::from(max_us) - i128::from(min_us);
    let fixed = [("second", SECOND_US), ("minute", MINUTE_US), ("hour", HOUR_US), ("day", DAY_US)];
    for (unit, width) in fixed {
        // One more than fit: the first and the last bin are seldom whole.
        if span / i128::from(width) + 2 <= bins as i128 || span == 0 && unit == "second" {
            return Edges::Times { us: steps(begin(min_us, width, 0), width, max_us), unit };
        }
    }
    let week_start = begin(min_us, 7 * DAY_US, 4 * DAY_US); // 1970-01-05 was a Monday.
    if span / i128::from(7 * DAY_US) + 2 <= bins as i128 {
        return Edges::Times { us: steps(week_start, 7 * DAY_US, max_us), unit: "week" };
    }
    let Some((first, last)) = day_of(min_us).zip(day_of(max_us)) else {
        // Beyond the calendar (years -9999 to 9999).
        let width = (span / bins as i128 + 1).min(i128::from(i64::MAX)) as i64;
        return Edges::Times { us: steps(min_us, width, max_us), unit: "span" };
    };
    let months = (i64::from(last.year()) - i64::from(first.year())) * 12 + i64::from(last.month() - first.month()) + 1;
    if months <= bins as i64 {
        let start = date(first.year(), first.month(), 1);
        return Edges::Times { us: calendar(start, months, |start, i| start.checked_add(Span::new().try_months(i).ok()?).ok()), unit: "month" };
    }
    let years = i64::from(last.year()) - i64::from(first.year()) + 1;
    let step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000]
        .into_iter()
        .find(|step| years / step + 2 <= bins as i64 || *step == 1 && years <= bins as i64)
        .unwrap_or(20_000);
    let from = i64::from(first.year()).div_euclid(step) * step;
    let count = (i64::from(last.year()) - from) / step + 1;
    let start = date(from.max(-9999) as i16, 1, 1);
    Edges::Times { us: calendar(start, count, |start, i| start.checked_add(Span::new().try_years(i * step).ok()?).ok()), unit: "year" }
}

/// The begin of the span of `width` that holds a time, where one begins at `origin`.
fn begin(us: i64, width: i64, origin: i64) -> i64 {
    let (us, width, origin) = (i128::from(us), i128::from(width), i128::from(origin));
    ((us - origin).div_euclid(width) * width + origin).max(i128::from(i64::MIN)) as i64
}

fn steps(from: i64, width: i64, max: i64) -> Vec<i64> {
    let mut edges = vec![from];
    let mut edge = from;
    while edge <= max {
        edge = edge.saturating_add(width);
        edges.push(edge);
        if edge == i64::MAX {
            break;
        }
    }
    edges
}

/// Where the first to the last of `count` spans begin, and where the last ends; cut off where the calendar ends.
fn calendar(start: Date, count: i64, nth: impl Fn(Date, i64) -> Option<Date>) -> Vec<i64> {
    let begin = |day: Date| match DateTime::from(day).to_zoned(TimeZone::UTC) {
        Ok(zoned) => zoned.timestamp(),
        // Instants end a day within the calendar, at either end.
        Err(_) if day.year() < 0 => Timestamp::MIN,
        Err(_) => Timestamp::MAX,
    };
    let begins = (0..=count).map(|i| nth(start, i).map_or(Timestamp::MAX, begin).as_microsecond());
    let mut edges: Vec<i64> = begins.collect();
    edges.dedup();
    edges
}

fn day_of(us: i64) -> Option<Date> {
    Timestamp::from_microsecond(us).ok().map(|time| time.to_zoned(TimeZone::UTC).date())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(edges: &Edges) -> Vec<String> {
        let Edges::Times { us, .. } = edges else { panic!("{edges:?}") };
        us.iter().map(|&us| Timestamp::from_microsecond(us).unwrap().to_string()).collect()
    }

    fn us(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn spans_choose_their_unit_and_begin_with_it() {
        for (from, to, unit, bins, first, last) in [
            ("2020-01-01T00:00:00Z", "2020-01-01T23:59:59Z", "hour", 24, "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"),
            ("2015-08-01T05:00:00Z", "2015-08-31T22:00:00Z", "day", 31, "2015-08-01T00:00:00Z", "2015-09-01T00:00:00Z"),
            ("2024-07-31T00:00:00Z", "2025-02-09T00:00:00Z", "week", 28, "2024-07-29T00:00:00Z", "2025-02-10T00:00:00Z"),
            ("2021-03-15T00:00:00Z", "2024-02-09T00:00:00Z", "month", 36, "2021-03-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2003-05-01T00:00:00Z", "2026-01-30T00:00:00Z", "year", 24, "2003-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("1881-02-01T00:00:00Z", "2016-01-30T00:00:00Z", "year", 28, "1880-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z", "second", 1, "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"),
        ] {
            let edges = times(us(from), us(to), 64);
            let Edges::Times { unit: chosen, .. } = &edges else { panic!() };
            let shown = shown(&edges);
            assert_eq!((*chosen, shown.len() - 1), (unit, bins), "{from} {to}: {shown:?}");
            assert_eq!((shown[0].as_str(), shown[shown.len() - 1].as_str()), (first, last));
        }
    }

    #[test]
    fn any_span_has_ascending_edges_around_it() {
        for (min, max) in [(i64::MIN, i64::MAX), (0, i64::MAX), (-1, 0), (us("-009998-01-01T00:00:00Z"), us("9999-12-30T00:00:00Z"))] {
            for bins in [1, 2, 64, 1000] {
                let Edges::Times { us, .. } = times(min, max, bins) else { panic!() };
                assert!(us.windows(2).all(|pair| pair[0] < pair[1]) && us.len() > 1, "{min} {max} {bins}");
                assert!(us[0] <= min && us[us.len() - 1] >= max, "{min} {max} {bins} {us:?}");
                assert!(us.len() <= bins + 3, "{min} {max} {bins}: {}", us.len());
            }
        }
    }

    #[test]
    fn whole_numbers_share_bins_evenly() {
        assert_eq!(integers(0, 10, 64, Scale::Linear), Edges::Integers((0..=11).collect()));
        assert_eq!(integers(5, 104, 10, Scale::Linear), Edges::Integers((0..=10).map(|i| 5 + i * 10).collect()));
        assert_eq!(integers(-3, -3, 10, Scale::Linear), Edges::Integers(vec![-3, -2]));
        assert_eq!(integers(1, 1000, 3, Scale::Log10), Edges::Integers(vec![1, 10, 100, 1001]));
        for (min, max) in [(i64::MIN, i64::MAX), (-5, 0), (0, 3), (500, 97_736), (i64::MAX, i64::MAX)] {
            for scale in [Scale::Linear, Scale::Log10] {
                let Edges::Integers(edges) = integers(min, max, 64, scale) else { panic!() };
                assert!(edges.len() > 1 || min == i64::MAX, "{min} {max} {edges:?}");
                // The largest of all integers has nothing above it: its bin ends where it begins, and includes its end.
                assert!(edges.windows(2).all(|pair| pair[0] < pair[1] || min == i64::MAX), "{min} {max} {edges:?}");
            }
        }
    }

    #[test]
    fn numbers_have_ascending_edges_that_end_exactly() {
        for (min, max) in [(0.0, 1.0), (-0.58, 6.6), (f64::MIN, f64::MAX), (5.0, 5.0), (1e-300, 1e300), (0.1, 0.1 + 1e-17), (-3.0, 0.0)] {
            for scale in [Scale::Linear, Scale::Log10] {
                let Edges::Numbers(edges) = numbers(min, max, 64, scale) else { panic!() };
                assert!(edges.len() > 1 && edges.windows(2).all(|pair| pair[0] < pair[1]), "{min} {max} {edges:?}");
                assert!(edges.iter().all(|edge| edge.is_finite()));
            }
        }
        let Edges::Numbers(edges) = numbers(-0.58, 6.6, 64, Scale::Linear) else { panic!() };
        assert_eq!((edges[0], edges[64]), (-0.58, 6.6));
    }
}
