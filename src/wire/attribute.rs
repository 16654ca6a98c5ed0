//! Netlink attributes, read in place.
//!
//! ```text
//!  0        2        4                 4+n   padded to 4
//! +--------+--------+-----------------+---+
//! | length |  type  | value (n bytes) | 0 |
//! +--------+--------+-----------------+---+
//! ```

use netlink_packet_core::{NLA_HEADER_SIZE, NLA_TYPE_MASK};

use super::error::{DecodeError, DecodeErrorKind};

/// Iterator over the attributes of a message or a nest. Stops after an error.
///
/// Inlined where it is used: a dumped entry has some thirty attributes, and this is the
/// innermost loop of a dump.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Attributes<'a> {
    /// Attributes in `bytes`, which start at `offset` of the datagram.
    #[must_use]
    pub fn new(bytes: &'a [u8], offset: usize) -> Self {
        Attributes { rest: bytes, offset }
    }

    /// `None` at the end; an error where a header is truncated or its length exceeds the bytes
    /// that are left.
    #[cold]
    fn end(&mut self) -> Option<Result<Attribute<'a>, DecodeError>> {
        let bytes = std::mem::take(&mut self.rest);
        let truncated = DecodeError { kind: DecodeErrorKind::Truncated, attribute: None, offset: self.offset };
        (!bytes.is_empty()).then_some(Err(truncated))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, DecodeError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let Some(&[l0, l1, k0, k1]) = self.rest.first_chunk() else {
            return self.end();
        };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(value) = self.rest.get(NLA_HEADER_SIZE..length) else {
            return self.end();
        };
        let kind = u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK;
        let attribute = Attribute { kind, value, offset: self.offset + NLA_HEADER_SIZE };
        let step = (length + 3) & !3;
        self.rest = self.rest.get(step..).unwrap_or_default();
        self.offset += step;
        Some(Ok(attribute))
    }
}

/// One attribute (`struct nlattr`), without the `NLA_F_*` flags.
#[doc(alias = "nlattr")]
#[derive(Debug, Clone, Copy)]
pub struct Attribute<'a> {
    /// Number within its nest (`nla_type`).
    pub kind: u16,
    /// Value without padding.
    pub value: &'a [u8],
    /// Offset of the value in the datagram.
    pub offset: usize,
}

impl<'a> Attribute<'a> {
    /// The attributes inside this one.
    #[must_use]
    pub fn nested(&self) -> Attributes<'a> {
        Attributes::new(self.value, self.offset)
    }

    /// The value as exactly `N` bytes.
    ///
    /// # Errors
    /// [`DecodeErrorKind::BadSize`] when it has another length.
    #[inline]
    pub fn array<const N: usize>(&self) -> Result<[u8; N], DecodeError> {
        self.value.try_into().map_err(|_| self.error(DecodeErrorKind::BadSize { expected: N, found: self.value.len() }))
    }

    /// The value, which has to be `size` bytes long.
    ///
    /// # Errors
    /// [`DecodeErrorKind::BadSize`] when it has another length.
    #[inline]
    pub fn sized(&self, size: usize) -> Result<&'a [u8], DecodeError> {
        if self.value.len() == size {
            Ok(self.value)
        } else {
            Err(self.error(DecodeErrorKind::BadSize { expected: size, found: self.value.len() }))
        }
    }

    /// The value as one byte.
    ///
    /// # Errors
    /// As [`Attribute::array`].
    #[inline]
    pub fn u8(&self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_ne_bytes)
    }

    /// The value as a 16-bit number in network order.
    ///
    /// # Errors
    /// As [`Attribute::array`].
    #[inline]
    pub fn be16(&self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The value as a 32-bit number in network order.
    ///
    /// # Errors
    /// As [`Attribute::array`].
    #[inline]
    pub fn be32(&self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The value as a 64-bit number in network order.
    ///
    /// # Errors
    /// As [`Attribute::array`].
    #[inline]
    pub fn be64(&self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The value as a string, without its NUL.
    #[must_use]
    pub fn string(&self) -> &'a [u8] {
        self.value.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// An error at this attribute.
    #[must_use]
    #[cold]
    pub fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { kind, attribute: Some(self.kind), offset: self.offset }
    }
}
