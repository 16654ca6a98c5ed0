//! Decimal numbers as people write them.

use super::error::{Quantity, QuantityError, QuantityErrorKind};

/// Parses decimal digits.
///
/// # Errors
/// A sign, a space or any other character that is no digit; a leading zero, since `010`
/// can be read as octal; more than 64 bits.
pub fn parse_decimal(text: &str) -> Result<u64, QuantityError> {
    digits(text).map_err(|kind| QuantityError::new(text, Quantity::Number, kind))
}

/// The value of `text`, which has to consist of digits.
pub(super) fn digits(text: &str) -> Result<u64, QuantityErrorKind> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(QuantityErrorKind::Malformed);
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(QuantityErrorKind::LeadingZero);
    }
    text.parse().map_err(|_| QuantityErrorKind::TooLarge)
}

/// The digits at the start of `text`, and the rest.
pub(super) fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_without_a_leading_zero() {
        assert_eq!((parse_decimal("0").unwrap(), parse_decimal("90").unwrap()), (0, 90));
        let kind = |text: &str| parse_decimal(text).unwrap_err().kind;
        for text in ["", "+1", "-1", " 1", "1 ", "1_000", "0x1f", "١"] {
            assert_eq!(kind(text), QuantityErrorKind::Malformed, "{text}");
        }
        assert_eq!((kind("00"), kind("007")), (QuantityErrorKind::LeadingZero, QuantityErrorKind::LeadingZero));
        assert_eq!(kind("99999999999999999999"), QuantityErrorKind::TooLarge);
    }
}
