//! Durations as text: `90`, `90s`, `12h`, `1h30m`.
//!
//! A number without a unit is in seconds, as in `conntrack -t` and in every timeout of
//! `/proc/sys/net/netfilter`. Each unit may be given once, in
//! descending order: `10s1h` is refused.

use std::fmt;
use std::str::FromStr;

use super::Seconds;
use super::error::{Quantity, QuantityError, QuantityErrorKind};
use super::number::{digits, split_digits};

/// Units in descending order, each in seconds.
const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl FromStr for Seconds {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let seconds = match split_digits(text) {
            (number, "") => digits(number),
            _ => with_units(text),
        };
        seconds.map(Seconds).map_err(|kind| QuantityError::new(text, Quantity::Duration, kind))
    }
}

/// The sum of numbers that each have a unit behind them.
fn with_units(text: &str) -> Result<u64, QuantityErrorKind> {
    let (mut rest, mut sum) = (text, 0u64);
    let mut allowed = UNITS.iter();
    while !rest.is_empty() {
        let (number, behind) = split_digits(rest);
        let mut characters = behind.chars();
        let unit = characters.next().filter(|unit| UNITS.iter().any(|(name, _)| name == unit));
        let unit = unit.ok_or(QuantityErrorKind::Malformed)?;
        let number = digits(number)?;
        let (_, factor) = allowed.find(|(name, _)| *name == unit).ok_or(QuantityErrorKind::UnitOrder)?;
        let part = number.checked_mul(*factor);
        sum = part.and_then(|part| sum.checked_add(part)).ok_or(QuantityErrorKind::TooLarge)?;
        rest = characters.as_str();
    }
    Ok(sum)
}

/// As it is parsed, with the largest units that fit: `1h30m`. Without seconds it is `0`.
impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        let mut left = self.0;
        for (unit, factor) in UNITS {
            if left >= factor {
                write!(f, "{}{unit}", left / factor)?;
                left %= factor;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_without_a_unit_is_in_seconds() {
        for (text, seconds) in [("0", 0), ("90", 90), ("432000", 432_000)] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn units_add_up() {
        let durations = [
            ("90s", 90),
            ("10m", 600),
            ("12h", 43_200),
            ("5d", 432_000),
            ("2w", 1_209_600),
            ("1h30m", 5_400),
            ("1d12h", 129_600),
            ("1w2d3h4m5s", 788_645),
            ("90m5s", 5_405),
            ("0s", 0),
        ];
        for (text, seconds) in durations {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn repeated_or_ascending_units_are_refused_with_the_order_that_is_expected() {
        for text in ["10s1h", "30m1h", "1h1h", "1s1s", "1d1w"] {
            let error = text.parse::<Seconds>().unwrap_err();
            assert_eq!(error.kind, QuantityErrorKind::UnitOrder, "{text}");
            let message = error.to_string();
            assert!(message.contains(text) && message.contains("descending order (w d h m s)"), "{message}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_examples() {
        for text in ["", "s", "d", "1.5h", "1h30", "1y", "-1s", "+1", "1é", "5 ", " 5", "1H", "1h 30m", "1h30mx"] {
            let error = text.parse::<Seconds>().unwrap_err();
            assert_eq!(error.kind, QuantityErrorKind::Malformed, "{text}");
            assert_eq!(
                error.to_string(),
                format!("invalid duration '{text}': expected e.g. 90s, 12h, 5d, 1h30m"),
                "{text}"
            );
        }
        for text in ["012", "012s", "1h05m"] {
            assert_eq!(text.parse::<Seconds>().unwrap_err().kind, QuantityErrorKind::LeadingZero, "{text}");
        }
        for text in ["99999999999999999999", "9999999999999999999w", "30500568904943w1000000w"] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
        assert_eq!("9999999999999999999w".parse::<Seconds>().unwrap_err().kind, QuantityErrorKind::TooLarge);
    }

    #[test]
    fn a_duration_is_written_with_the_largest_units() {
        let written = [(0, "0"), (59, "59s"), (60, "1m"), (90_061, "1d1h1m1s"), (604_800, "1w")];
        for (seconds, text) in written {
            assert_eq!(Seconds(seconds).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn a_written_duration_is_parsed_as_the_same(seconds: u64) {
            prop_assert_eq!(Seconds(seconds).to_string().parse(), Ok(Seconds(seconds)));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9wdhmsé.]{0,24}") {
            let _ = text.parse::<Seconds>();
        }
    }
}
