//! Malformed netlink messages.

use std::fmt;

/// A malformed message, with the place of the error. `Copy`: decoding allocates no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// What is malformed.
    pub kind: DecodeErrorKind,
    /// The attribute that was being decoded, by its number within its nest.
    pub attribute: Option<u16>,
    /// Offset in the datagram, in bytes.
    pub offset: usize,
}

/// What is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes end within a message or an attribute, or a length is less than its header.
    Truncated,
    /// A value has another size than the type of its attribute.
    BadSize {
        /// Size of the type, in bytes.
        expected: usize,
        /// Size of the value, in bytes.
        found: usize,
    },
    /// A mandatory attribute is missing.
    Missing,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            DecodeErrorKind::Truncated => write!(f, "truncated message")?,
            DecodeErrorKind::BadSize { expected, found } => {
                write!(f, "invalid attribute of {found} bytes: expected {expected}")?;
            }
            DecodeErrorKind::Missing => write!(f, "missing mandatory attribute")?,
        }
        if let Some(attribute) = self.attribute {
            write!(f, " (attribute {attribute})")?;
        }
        write!(f, " at byte {}", self.offset)
    }
}

impl std::error::Error for DecodeError {}
