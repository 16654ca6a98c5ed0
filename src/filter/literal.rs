//! Parsers of single values: numbers, sizes, durations, ports.
//!
//! A text with two meanings (`010`) is refused.

use super::error::ValueError;
use crate::units::{Bytes, QuantityErrorKind, Seconds, parse_count, parse_decimal};

/// A whole number, decimal without leading zeros or `0x…`, up to `max`.
pub(super) fn number(text: &str, max: u64) -> Result<u64, ValueError> {
    let value = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => hexadecimal(text, digits)?,
        None => decimal(text)?,
    };
    if value > max {
        return Err(ValueError::new(format!("number '{text}' is too large: expected at most {max}")));
    }
    Ok(value)
}

/// 128 bits, decimal without leading zeros or `0x…`.
pub(super) fn bits(text: &str) -> Result<u128, ValueError> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(ValueError::new(format!("invalid number '{text}'")));
    }
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return decimal(text).map(u128::from);
    }
    u128::from_str_radix(digits, radix)
        .map_err(|_| ValueError::new(format!("number '{text}' is too large: expected at most 128 bits")))
}

/// A decimal number without leading zeros.
pub(super) fn decimal(text: &str) -> Result<u64, ValueError> {
    parse_decimal(text).map_err(|error| match error.kind {
        QuantityErrorKind::LeadingZero => {
            let plain = text.trim_start_matches('0');
            let plain = if plain.is_empty() { "0" } else { plain };
            ValueError::new(format!("invalid number '{text}': expected no leading zeros")).hint(plain)
        }
        QuantityErrorKind::TooLarge => ValueError::new(format!("number '{text}' is too large")),
        _ => ValueError::new(format!("invalid number '{text}'")),
    })
}

fn hexadecimal(text: &str, digits: &str) -> Result<u64, ValueError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ValueError::new(format!("invalid number '{text}'")));
    }
    u64::from_str_radix(digits, 16).map_err(|_| ValueError::new(format!("number '{text}' is too large")))
}

/// A number with an optional factor: `10k`, `2Gi`.
pub(super) fn count(text: &str) -> Result<u64, ValueError> {
    parse_count(text).map_err(ValueError::from)
}

/// A number of bytes: `64MiB`.
pub(super) fn size(text: &str) -> Result<u64, ValueError> {
    Ok(text.parse::<Bytes>()?.0)
}

/// A number of seconds: `90s`, `1h30m`, `0`.
///
/// A number without a unit is refused, unlike in options such as `--soft`: a filter decides
/// what is deleted, and `--older 12` would match nearly every entry where hours were meant.
pub(super) fn duration(text: &str) -> Result<u64, ValueError> {
    let Seconds(seconds) = text.parse()?;
    if seconds != 0 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let error = ValueError::new(format!("invalid duration '{text}': a unit is missing"));
        return Err(error.hint(format!("{text}s, {text}m, {text}h or {text}d")));
    }
    Ok(seconds)
}

/// A port number.
pub(super) fn port(text: &str) -> Result<u64, ValueError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let error = ValueError::new(format!("not a port: '{text}'"));
        let range = text.split_once(':').filter(|(low, high)| decimal(low).is_ok() && decimal(high).is_ok());
        return Err(match range {
            Some((low, high)) => error.hint(format!("{low}-{high} for a range")),
            None => error.hint("a number from 0 to 65535, a range a-b, or a name from /etc/services"),
        });
    }
    let port = decimal(text)?;
    if port > u16::MAX.into() {
        return Err(ValueError::new(format!("not a port: '{text}': expected at most 65535")));
    }
    Ok(port)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_strict() {
        assert_eq!((number("0", 9).unwrap(), number("0x1F", 255).unwrap()), (0, 31));
        for text in ["", "00", "007", "+1", "-1", "1 ", "0x", "0xg", "1_000", "10", "99999999999999999999"] {
            assert!(number(text, 9).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_needs_a_unit_unless_it_is_zero() {
        for (text, seconds) in [("0", 0), ("0s", 0), ("90s", 90), ("12h", 43_200), ("1h30m", 5_400)] {
            assert_eq!(duration(text).unwrap(), seconds, "{text}");
        }
        for text in ["12", "1", "5400", "99999999999999999999", "012", ""] {
            assert!(duration(text).is_err(), "{text}");
        }
        let error = duration("12").unwrap_err();
        assert_eq!(error.message, "invalid duration '12': a unit is missing");
        assert_eq!(error.hint.as_deref(), Some("12s, 12m, 12h or 12d"));
    }
}
