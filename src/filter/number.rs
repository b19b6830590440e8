//! Numeric literals, compared exactly with integers and, as SQL does, in f64 with floats.

use std::cmp::Ordering;

/// A decimal literal. `1.50`, `1.5` and `15e-1` are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// Shortest plain or scientific form of exactly this decimal.
    text: String,
    nearest: f64,
    /// The largest integer that is not greater; saturated beyond 10^37, where no i64 is near.
    floor: i128,
    whole: bool,
}

/// Decimal digits that an i128 is sure to hold.
const FLOOR_DIGITS_MAX: i64 = 37;

impl Number {
    /// Reads an unsigned decimal such as `12`, `.5`, `1e-3`, and its sign. `None` where it is none, or beyond f64.
    pub fn parse(text: &str, negative: bool) -> Option<Number> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(e) => (&text[..e], text[e + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let nearest: f64 = text.parse().ok()?;
        if nearest.is_infinite() {
            return None;
        }
        // value = digits * 10^power, digits without zeros at either end.
        let trimmed = all.trim_start_matches('0');
        let digits = trimmed.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Number { text: "0".into(), nearest: 0.0, floor: 0, whole: true });
        }
        let power = i64::from(exponent) - fraction.len() as i64 + (trimmed.len() - digits.len()) as i64;
        let sign = if negative { "-" } else { "" };
        let (floor, whole) = floor_of(digits, power, negative);
        Some(Number {
            text: format!("{sign}{}", plain_or_scientific(digits, power)),
            nearest: if negative { -nearest } else { nearest },
            floor,
            whole,
        })
    }

    /// A finite f64, as its shortest decimal.
    pub fn from_f64(value: f64) -> Option<Number> {
        value.is_finite().then(|| Number::parse(&format!("{:e}", value.abs()), value.is_sign_negative()))?
    }

    pub fn from_i64(value: i64) -> Number {
        Number::parse(&value.unsigned_abs().to_string(), value < 0).expect("an integer is a decimal")
    }

    /// How an integer lies to the number. Exact.
    pub fn cmp_integer(&self, value: i64) -> Ordering {
        match i128::from(value).cmp(&self.floor) {
            Ordering::Equal if !self.whole => Ordering::Less,
            other => other,
        }
    }

    /// How a float lies to the f64 that is nearest to the number, which is how SQL compares a double with a decimal literal.
    /// `None` for NaN.
    pub fn cmp_float(&self, value: f64) -> Option<Ordering> {
        value.partial_cmp(&self.nearest)
    }

    pub fn as_f64(&self) -> f64 {
        self.nearest
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

fn floor_of(digits: &str, power: i64, negative: bool) -> (i128, bool) {
    let whole_digits = digits.len() as i64 + power;
    if whole_digits > FLOOR_DIGITS_MAX {
        return (if negative { i128::MIN } else { i128::MAX }, true);
    }
    let kept = whole_digits.clamp(0, digits.len() as i64) as usize;
    let mut magnitude: i128 = 0;
    for digit in digits[..kept].bytes() {
        magnitude = magnitude * 10 + i128::from(digit - b'0');
    }
    for _ in 0..power.max(0) {
        magnitude *= 10;
    }
    let whole = power >= 0;
    match (negative, whole) {
        (false, _) => (magnitude, whole),
        (true, true) => (-magnitude, true),
        (true, false) => (-magnitude - 1, false),
    }
}

fn plain_or_scientific(digits: &str, power: i64) -> String {
    let point = digits.len() as i64 + power;
    if power >= 0 && point <= 21 {
        format!("{digits}{}", "0".repeat(power as usize))
    } else if power < 0 && point > 0 {
        format!("{}.{}", &digits[..point as usize], &digits[point as usize..])
    } else if power < 0 && point > -6 {
        format!("0.{}{digits}", "0".repeat(-point as usize))
    } else {
        format!("{digits}e{power}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        let digits = text.trim_start_matches('-');
        Number::parse(digits, digits.len() < text.len()).unwrap()
    }

    #[test]
    fn equal_decimals_have_one_text() {
        for (forms, text) in [
            (&["1.50", "1.5", "15e-1", "0015E-1", "0.15e1"][..], "1.5"),
            (&["0", "0.0", "-0", ".0", "0e99"], "0"),
            (&["1000", "1e3", "1000."], "1000"),
            (&["1e30"], "1e30"),
            (&["-0.00001"], "-0.00001"),
            (&["1e-9"], "1e-9"),
            (&["49007018536"], "49007018536"),
        ] {
            for form in forms {
                assert_eq!(number(form).text(), text, "{form}");
                assert_eq!(number(text), number(form), "{form}");
            }
        }
        for wrong in ["", ".", "1e", "e5", "1e999", "1.2.3", "0x1f"] {
            assert_eq!(Number::parse(wrong, false), None, "{wrong}");
        }
    }

    #[test]
    fn integers_lie_to_decimals_exactly() {
        use Ordering::*;
        for (text, value, expected) in [
            ("2.5", 2, Less), ("2.5", 3, Greater), ("-2.5", -3, Less), ("-2.5", -2, Greater), ("-0.1", 0, Greater),
            ("9007199254740993", 9_007_199_254_740_992, Less), ("9007199254740993", 9_007_199_254_740_993, Equal),
            ("9223372036854775807.5", i64::MAX, Less), ("-9223372036854775808", i64::MIN, Equal),
            ("1e300", i64::MAX, Less), ("-1e300", i64::MIN, Greater), ("1e-300", 0, Less), ("-1e-300", 0, Greater),
        ] {
            assert_eq!(number(text).cmp_integer(value), expected, "{value} to {text}");
        }
    }

    proptest! {
        #[test]
        fn integers_and_floats_round_trip(a: i64, b: i64, x in proptest::num::f64::NORMAL) {
            prop_assert_eq!(Number::from_i64(a).cmp_integer(b), b.cmp(&a));
            let number = Number::from_f64(x).unwrap();
            prop_assert_eq!(number.as_f64(), x);
            prop_assert_eq!(self::number(number.text()).as_f64(), x);
        }
    }
}
