//! What can be wrong with bytes that claim to be a netlink message.

use std::fmt;

/// Bytes that could not be read, with the place where they stand.
///
/// Small and `Copy`, so that decoding builds no string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// The attribute (`CTA_*` number of its own nest), where one was being read.
    pub attribute: Option<u16>,
    /// Bytes from the start of the datagram.
    pub offset: usize,
}

/// The ways in which a message can be malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes end before the message or attribute does.
    Truncated,
    /// A length field is smaller than its own header.
    BadLength,
    /// An attribute's value has another size than its type.
    BadSize {
        /// Bytes that the type takes.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// An attribute that every such message carries is not there.
    Missing,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            DecodeErrorKind::Truncated => write!(f, "message ends too early")?,
            DecodeErrorKind::BadLength => write!(f, "length field smaller than its header")?,
            DecodeErrorKind::BadSize { expected, found } => {
                write!(f, "value of {found} bytes where {expected} are expected")?;
            }
            DecodeErrorKind::Missing => write!(f, "mandatory attribute missing")?,
        }
        if let Some(attribute) = self.attribute {
            write!(f, " (attribute {attribute})")?;
        }
        write!(f, " at byte {}", self.offset)
    }
}

impl std::error::Error for DecodeError {}
