//! Which values a field takes.

/// What kind of values a field takes, and so how they are read, compared and
/// written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
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
    /// 32 bits, or a part of them: `VALUE/MASK`.
    Masked,
    /// Name or number of a connection label.
    Label,
    /// A word; bytes are compared as they are.
    Text,
    /// A whole number up to the one given, decimal or `0x…`.
    Number(u64),
    /// A count, `10k` is 10,000.
    Count,
    /// Bytes, `10k` is 10,000 and `10Ki` 10,240.
    Size,
    /// Time with its unit: `90s`, `1h30m`, `5d`.
    Duration,
}

impl Kind {
    /// What stands for a value in help.
    #[must_use]
    pub fn value_name(self) -> &'static str {
        match self {
            Kind::Family => "ipv4|ipv6",
            Kind::Protocol => "PROTO|LIST",
            Kind::Address => "ADDR|CIDR|LIST",
            Kind::Port => "PORT|RANGE|LIST",
            Kind::State => "STATE|LIST",
            Kind::Status => "BIT|LIST",
            Kind::Nat => "src|dst|any|none",
            Kind::Masked => "VALUE[/MASK]",
            Kind::Label => "LABEL|LIST",
            Kind::Text => "NAME|LIST",
            Kind::Number(_) => "NUMBER|RANGE|LIST",
            Kind::Count => "[<>=]COUNT",
            Kind::Size => "[<>=]BYTES",
            Kind::Duration => "[<>=]TIME",
        }
    }

    /// The largest number of this kind, for those that are numbers.
    #[must_use]
    pub fn max(self) -> u64 {
        match self {
            Kind::Protocol => u8::MAX.into(),
            Kind::Port => u16::MAX.into(),
            Kind::Masked => u32::MAX.into(),
            Kind::Number(max) => max,
            _ => u64::MAX,
        }
    }

    /// Whether `<` and `>` mean something.
    #[must_use]
    pub fn is_ordered(self) -> bool {
        matches!(self, Kind::Port | Kind::Masked | Kind::Number(_) | Kind::Count | Kind::Size | Kind::Duration)
    }
}
