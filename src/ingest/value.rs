//! From the bytes of a field to a value: numbers, booleans, timestamps, and what counts as null.
//!
//! Every parser here answers two questions in one pass: what the value is, and (by [`kind_of`]) which is the narrowest kind
//! that holds it without loss. Numbers with leading zeros (`0035`, postal codes) are codes and therefore text. This module
//! knows nothing of files, rows or columns.

use crate::dataset::ColumnKind;

/// How a null integer, boolean or timestamp is carried between reading and writing. pandas writes its own null timestamps
/// with the same number, and no real file was seen to mean -9,223,372,036,854,775,808.
pub const NULL_INTEGER: i64 = i64::MIN;

const US_PER_SECOND: i64 = 1_000_000;
const US_PER_DAY: i64 = 86_400 * US_PER_SECOND;

/// Powers of ten that are exact as f64.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Null in text formats: nothing, or the `\N` of database dumps. `NA` is Namibia.
pub fn is_null(field: &[u8]) -> bool {
    field.is_empty() || field == b"\\N" || (field[0] == b' ' && field.trim_ascii().is_empty())
}

/// An integer of at most 18 digits or what fits an `i64`, without leading zeros.
pub fn integer(field: &[u8]) -> Option<i64> {
    let (negative, digits) = match field {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || digits.len() > 19 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut value: u64 = 0; // 19 digits fit a u64
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    let value = if negative { 0i64.checked_sub_unsigned(value)? } else { i64::try_from(value).ok()? };
    (value != NULL_INTEGER).then_some(value)
}

/// A finite decimal number, correctly rounded; exponents are allowed, leading zeros (`007`, `00.5`) are not. Digits alone are mostly an
/// id, of which no two may become one: they are a number only where an f64 is exactly that.
pub fn float(field: &[u8]) -> Option<f64> {
    let (negative, digits) = match field {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if let [b'0', b'0'..=b'9', ..] = digits {
        return None;
    }
    // Clinger's fast path: a mantissa below 2^53 divided by an exact power of ten is correctly rounded.
    let (mut mantissa, mut decimals, mut seen, mut point) = (0u64, 0usize, 0usize, false);
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            seen += 1;
            decimals += usize::from(point);
        } else if byte == b'.' && !point {
            point = true;
        } else {
            return slow_float(field);
        }
    }
    if seen == 0 {
        return None;
    }
    if seen > 19 || mantissa > 1 << 53 || decimals > 22 {
        return slow_float(field).filter(|value| point || format!("{:.0}", value.abs()).as_bytes() == digits);
    }
    let value = mantissa as f64 / POWERS[decimals];
    Some(if negative { -value } else { value })
}

fn slow_float(field: &[u8]) -> Option<f64> {
    // `inf`, `nan` and `infinity` parse in Rust: here they are words.
    if !field.iter().any(u8::is_ascii_digit) {
        return None;
    }
    let value: f64 = std::str::from_utf8(field).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

pub fn boolean(field: &[u8]) -> Option<bool> {
    match field {
        b"true" | b"True" | b"TRUE" => Some(true),
        b"false" | b"False" | b"FALSE" => Some(false),
        _ => None,
    }
}

/// Microseconds since the epoch of an ISO 8601 date or time: `2020-01-01`, `2020-01-01T22:26:22`, `2020-01-01 22:26:22.123`,
/// with `Z` or an offset (`+01:00`, `+0100`, `+01`), or without (then it is UTC).
pub fn timestamp(field: &[u8]) -> Option<i64> {
    if field.len() < 10 || field[4] != b'-' || field[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&field[0..4])?, digits(&field[5..7])?, digits(&field[8..10])?);
    let days = days_from_civil(year, month, day)?;
    let time = &field[10..];
    if time.is_empty() {
        return Some(days * US_PER_DAY);
    }
    if time.len() < 6 || (time[0] != b'T' && time[0] != b' ' && time[0] != b't') || time[3] != b':' {
        return None;
    }
    let (hours, minutes) = (digits(&time[1..3])?, digits(&time[4..6])?);
    let (mut seconds, mut fraction_us, mut rest) = (0, 0, &time[6..]);
    if let [b':', a, b, tail @ ..] = rest {
        seconds = digits(&[*a, *b])?;
        rest = tail;
        if let [b'.' | b',', tail @ ..] = rest {
            let places = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if places == 0 {
                return None;
            }
            // Places beyond the microsecond are cut.
            let digits = tail[..places].iter().chain(std::iter::repeat(&b'0'));
            for digit in digits.take(6) {
                fraction_us = fraction_us * 10 + i64::from(digit - b'0');
            }
            rest = &tail[places..];
        }
    }
    // 60 seconds: a leap second, which counts into the next minute.
    if hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let offset_seconds = offset_seconds(rest)?;
    Some(days * US_PER_DAY + (hours * 3600 + minutes * 60 + seconds - offset_seconds) * US_PER_SECOND + fraction_us)
}

/// Seconds east of UTC; an absent zone is UTC.
fn offset_seconds(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone {
        [] | [b'Z' | b'z'] | b"UTC" => return Some(0),
        [sign, h1, h2, b':', m1, m2] | [sign, h1, h2, m1, m2] => (*sign, digits(&[*h1, *h2])?, digits(&[*m1, *m2])?),
        [sign, h1, h2] => (*sign, digits(&[*h1, *h2])?, 0),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    match sign {
        b'+' => Some(hours * 3600 + minutes * 60),
        b'-' => Some(-(hours * 3600 + minutes * 60)),
        _ => None,
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar. Source: Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", days_from_civil.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    const DAYS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_index = usize::try_from(month).ok()?.checked_sub(1)?;
    let days_in_month = DAYS.get(month_index)? + i64::from(leap && month == 2);
    if day < 1 || day > days_in_month {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// The narrowest kind that holds a field; `None` for null. Nothing is lost but decimals that no f64 has.
pub fn kind_of(field: &[u8]) -> Option<ColumnKind> {
    if is_null(field) {
        None
    } else if integer(field).is_some() {
        Some(ColumnKind::Integer)
    } else if float(field).is_some() {
        Some(ColumnKind::Float)
    } else if timestamp(field).is_some() {
        Some(ColumnKind::Timestamp)
    } else if boolean(field).is_some() {
        Some(ColumnKind::Boolean)
    } else {
        Some(ColumnKind::Text)
    }
}

/// The kind of a column that is read as `planned`, once it has met a field that is not of that kind.
pub fn contradiction(planned: ColumnKind, field: &[u8]) -> Option<ColumnKind> {
    match (planned, kind_of(field)) {
        // An integer that no f64 is, among decimals: only texts hold both.
        (ColumnKind::Float, Some(ColumnKind::Integer)) => Some(ColumnKind::Text),
        (_, kind) => kind,
    }
}

/// The kind that holds both kinds' values; `None` is the kind of nothing but nulls. An integer beyond 2^53 may turn out not to be a
/// float: see [`contradiction`].
pub fn wider(a: Option<ColumnKind>, b: Option<ColumnKind>) -> Option<ColumnKind> {
    use ColumnKind::{Float, Integer, Text};
    match (a, b) {
        (None, kind) | (kind, None) => kind,
        (Some(a), Some(b)) if a == b => Some(a),
        (Some(Integer), Some(Float)) | (Some(Float), Some(Integer)) => Some(Float),
        _ => Some(Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kinds_are_the_narrowest_that_lose_nothing() {
        let kinds: Vec<_> = ["12", "-7", "1.50", ".00", "1e5", "0035", "00.5", "2020-01-01", "true", "NA", "\\N", "", "-"]
            .map(|text| kind_of(text.as_bytes()))
            .into();
        use ColumnKind::*;
        let expected = [
            Some(Integer), Some(Integer), Some(Float), Some(Float), Some(Float), Some(Text), Some(Text), Some(Timestamp),
            Some(Boolean), Some(Text), None, None, Some(Text),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(kind_of(b"99999999999999999999"), Some(Text), "over an i64, and no f64");
        assert_eq!(kind_of(b"100000000000000000000"), Some(Float), "over an i64, and an f64");
        assert_eq!(kind_of(b"-99999999999999999999.5"), Some(Float));
        assert_eq!((float(b"9007199254740992"), float(b"9007199254740993")), (Some(9_007_199_254_740_992.0), None));
        assert_eq!(contradiction(Float, b"9007199254740993"), Some(Text));
        assert_eq!(kind_of(b"nan"), Some(Text));
    }

    #[test]
    fn times_with_and_without_zone() {
        let day = 18_262 * US_PER_DAY; // 2020-01-01
        for (text, us) in [
            ("2020-01-01", day),
            ("2020-01-01T22:26:22", day + (22 * 3600 + 26 * 60 + 22) * US_PER_SECOND),
            ("2020-01-01 00:00:00.25", day + 250_000),
            ("2020-01-01T00:00:00.000Z", day),
            ("2020-01-01T01:00:00+01:00", day),
            ("2019-12-31T20:30-0330", day),
            ("1969-12-31", -US_PER_DAY),
            ("2000-02-29", 11_016 * US_PER_DAY),
        ] {
            assert_eq!(timestamp(text.as_bytes()), Some(us), "{text}");
        }
        for text in ["2018-11", "2019-02-29", "2020-13-01", "2020-01-01T25:00:00", "2020-01-01Tnoon", "2020-01-01T00:00:00+"] {
            assert_eq!(timestamp(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn floats_agree_with_the_standard_parser(text in "[-+]?([0-9]|[1-9][0-9]{1,20})?(\\.[0-9]{0,24})?(e[-+]?[0-9]{1,2})?") {
            let bare = text.trim_start_matches(['-', '+']);
            let is_digits = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
            let is_exact = |value: &f64| !is_digits || value.abs().to_string() == bare;
            let expected = text.parse::<f64>().ok().filter(|v| v.is_finite() && is_exact(v));
            prop_assert_eq!(float(text.as_bytes()), expected, "{}", text);
        }

        #[test]
        fn integers_agree_with_the_standard_parser(value: i64, text in "[-+]?[0-9]{1,21}") {
            prop_assume!(value != NULL_INTEGER);
            prop_assert_eq!(integer(value.to_string().as_bytes()), Some(value));
            let bare = text.trim_start_matches(['-', '+']);
            let code = bare.len() > 1 && bare.starts_with('0');
            prop_assert_eq!(integer(text.as_bytes()), text.parse::<i64>().ok().filter(|&v| !code && v != NULL_INTEGER));
        }

        #[test]
        fn times_agree_with_jiff(us in -62_000_000_000_000_000i64..200_000_000_000_000_000) {
            let text = jiff::Timestamp::from_microsecond(us).unwrap().to_string();
            prop_assert_eq!(timestamp(text.as_bytes()), Some(us), "{}", text);
        }
    }
}
