//! Sizes and counts as text: `500`, `10k`, `64MiB`.

use std::fmt;
use std::str::FromStr;

use super::error::{Quantity, QuantityError, QuantityErrorKind};
use super::number::{digits, split_digits};

/// Decimal and binary factors.
const FACTORS: [(&str, u64); 11] = [
    ("", 1),
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("Ki", 1 << 10),
    ("ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
];

/// A number of bytes.
///
/// Parsed from `500`, `10k`, `10M` (decimal), `64MiB` or `2Gi` (binary); a `B` at the end
/// is optional. Written for people: rounded down to B, KiB or MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

impl From<usize> for Bytes {
    fn from(bytes: usize) -> Self {
        Bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

impl FromStr for Bytes {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let bare = text.strip_suffix('B').unwrap_or(text);
        scaled(bare).map(Bytes).map_err(|kind| QuantityError::new(text, Quantity::Size, kind))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ 0..8_192 => write!(f, "{bytes} B"),
            bytes @ 8_192..8_388_608 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{} MiB", bytes >> 20),
        }
    }
}

/// Parses a number of things: `500`, `10k`, `2M`.
///
/// # Errors
/// What is no number with one of the factors k, M, G, T, Ki, Mi, Gi, Ti.
pub fn parse_count(text: &str) -> Result<u64, QuantityError> {
    scaled(text).map_err(|kind| QuantityError::new(text, Quantity::Count, kind))
}

fn scaled(text: &str) -> Result<u64, QuantityErrorKind> {
    let (number, name) = split_digits(text);
    let factor = FACTORS.iter().find(|(factor, _)| *factor == name).map(|(_, factor)| *factor);
    let factor = factor.ok_or(QuantityErrorKind::Malformed)?;
    digits(number)?.checked_mul(factor).ok_or(QuantityErrorKind::TooLarge)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_decimal_and_binary_factors() {
        let sizes = [("500", 500), ("10k", 10_000), ("10Ki", 10_240), ("2GiB", 2 << 30), ("1MB", 1_000_000), ("7B", 7)];
        for (text, bytes) in sizes {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "k", "B", "10q", "1.5k", "10kk", "10kBB", "-1", "10 k"] {
            let error = text.parse::<Bytes>().unwrap_err();
            assert_eq!(error.kind, QuantityErrorKind::Malformed, "{text}");
            assert_eq!(error.to_string(), format!("invalid size '{text}': expected e.g. 500, 10k, 10M, 2GiB"));
        }
        assert_eq!("010k".parse::<Bytes>().unwrap_err().kind, QuantityErrorKind::LeadingZero);
        assert_eq!("99999999T".parse::<Bytes>().unwrap_err().to_string(), "size '99999999T' is too large");
    }

    #[test]
    fn a_count_is_not_in_bytes() {
        assert_eq!(parse_count("10k"), Ok(10_000));
        assert_eq!(parse_count("7B").unwrap_err().to_string(), "invalid count '7B': expected e.g. 500, 10k, 10M");
    }

    #[test]
    fn a_size_is_written_in_the_largest_unit_that_keeps_a_digit_of_precision() {
        for (bytes, text) in
            [(0, "0 B"), (8_191, "8191 B"), (8_192, "8 KiB"), (8 << 20, "8 MiB"), (3 << 30, "3072 MiB")]
        {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
