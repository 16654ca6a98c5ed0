//! Names of helpers, without an allocation.

use std::fmt;

/// The name of a helper (ALG), such as `ftp`: at most 15 bytes in the kernel.
#[doc(alias = "CTA_HELP_NAME")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HelperName {
    bytes: [u8; Self::CAPACITY],
    length: u8,
}

impl HelperName {
    /// Capacity in bytes: twice that of the kernel (`NF_CT_HELPER_NAME_LEN` is 16).
    pub const CAPACITY: usize = 32;

    /// A name, truncated to [`HelperName::CAPACITY`] bytes.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        let mut bytes = [0; Self::CAPACITY];
        let kept = name.get(..Self::CAPACITY).unwrap_or(name);
        bytes.iter_mut().zip(kept).for_each(|(to, from)| *to = *from);
        HelperName { bytes, length: u8::try_from(kept.len()).unwrap_or(0) }
    }

    /// The bytes of the name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The name as text, up to the first byte that is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.as_bytes();
        std::str::from_utf8(bytes).unwrap_or_else(|error| {
            std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        })
    }
}

impl fmt::Debug for HelperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for HelperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
