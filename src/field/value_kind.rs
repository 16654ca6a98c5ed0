//! Kinds of values.

/// The kind of a field's values, which determines how they are parsed, compared and printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueKind {
    /// `ipv4` or `ipv6`.
    Family,
    /// Name or number of a layer 4 protocol.
    Protocol,
    /// Address, network, range of addresses.
    Address,
    /// Port: number, range, service name.
    Port,
    /// Name of a protocol state, or its number.
    State,
    /// Name of a status bit, or its number.
    Status,
    /// `src`, `dst`, `any`, `none`.
    Nat,
    /// 32 bits, or the bits of a mask: `VALUE/MASK`.
    Masked,
    /// Name or number of a connection label, or the bits of a mask of all 128: `VALUE/MASK`.
    Label,
    /// Number or name of an ICMP type.
    IcmpType,
    /// A text, compared byte by byte.
    Text,
    /// A whole number up to this maximum, decimal or `0x…`.
    Number(u64),
    /// A count, `10k` is 10,000.
    Count,
    /// Bytes, `10k` is 10,000 and `10Ki` 10,240.
    Size,
    /// A duration: `90s`, `1h30m`, `5d`. The unit is required, except for `0`.
    Duration,
}

impl ValueKind {
    /// The placeholder of a value in help.
    #[must_use]
    pub fn value_name(self) -> &'static str {
        match self {
            ValueKind::Family => "ipv4|ipv6",
            ValueKind::Protocol => "PROTO|LIST",
            ValueKind::Address => "ADDR|CIDR|RANGE|LIST",
            ValueKind::Port => "PORT|RANGE|LIST",
            ValueKind::State => "STATE|LIST",
            ValueKind::Status => "BIT|LIST",
            ValueKind::Nat => "src|dst|any|none",
            ValueKind::Masked => "VALUE[/MASK]|RANGE|LIST",
            ValueKind::Label => "LABEL|VALUE/MASK|LIST",
            ValueKind::IcmpType => "TYPE|RANGE|LIST",
            ValueKind::Text => "NAME|LIST",
            ValueKind::Number(_) => "NUMBER|RANGE|LIST",
            ValueKind::Count => "[<>=]COUNT",
            ValueKind::Size => "[<>=]BYTES",
            ValueKind::Duration => "[<>=]TIME",
        }
    }

    /// The largest number of this kind.
    #[must_use]
    pub const fn max(self) -> u64 {
        match self {
            ValueKind::Protocol | ValueKind::IcmpType => u8::MAX as u64,
            ValueKind::Port => u16::MAX as u64,
            ValueKind::Masked => u32::MAX as u64,
            ValueKind::Number(max) => max,
            _ => u64::MAX,
        }
    }

    /// Whether `<` and `>` are supported.
    #[must_use]
    pub fn is_ordered(self) -> bool {
        matches!(
            self,
            ValueKind::Port
                | ValueKind::Masked
                | ValueKind::IcmpType
                | ValueKind::Number(_)
                | ValueKind::Count
                | ValueKind::Size
                | ValueKind::Duration
        )
    }
}
