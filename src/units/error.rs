//! Why a text is not a quantity.

use std::fmt;

/// What a text was parsed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quantity {
    /// A decimal number without a unit.
    Number,
    /// A number of things, such as `10k`.
    Count,
    /// A number of bytes, such as `64MiB`.
    Size,
    /// A number of seconds, such as `1h30m`.
    Duration,
}

/// What is wrong with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuantityErrorKind {
    /// Not a number with one of the units.
    Malformed,
    /// A number such as `010`, which some programs read as octal.
    LeadingZero,
    /// Units of time that are repeated, or not in descending order.
    UnitOrder,
    /// More than 64 bits hold.
    TooLarge,
}

/// A text that is not the quantity it was parsed as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantityError {
    /// The text, as it was given.
    pub text: Box<str>,
    /// What it was parsed as.
    pub quantity: Quantity,
    /// What is wrong with it.
    pub kind: QuantityErrorKind,
}

impl QuantityError {
    pub(super) fn new(text: &str, quantity: Quantity, kind: QuantityErrorKind) -> Self {
        QuantityError { text: text.into(), quantity, kind }
    }
}

impl Quantity {
    fn name(self) -> &'static str {
        match self {
            Quantity::Number => "number",
            Quantity::Count => "count",
            Quantity::Size => "size",
            Quantity::Duration => "duration",
        }
    }

    fn examples(self) -> &'static str {
        match self {
            Quantity::Number => "decimal digits",
            Quantity::Count => "e.g. 500, 10k, 10M",
            Quantity::Size => "e.g. 500, 10k, 10M, 2GiB",
            Quantity::Duration => "e.g. 90s, 12h, 5d, 1h30m",
        }
    }
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QuantityError { text, quantity, kind } = self;
        let name = quantity.name();
        match kind {
            QuantityErrorKind::Malformed => write!(f, "invalid {name} '{text}': expected {}", quantity.examples()),
            QuantityErrorKind::LeadingZero => {
                write!(f, "invalid {name} '{text}': expected a number without leading zeros")
            }
            QuantityErrorKind::UnitOrder => write!(
                f,
                "invalid {name} '{text}': expected each unit at most once and in descending order (w d h m s), e.g. \
                 1h30m"
            ),
            QuantityErrorKind::TooLarge => write!(f, "{name} '{text}' is too large"),
        }
    }
}

impl std::error::Error for QuantityError {}
