//! Classes of entries, by the properties that decide which fields an entry has.

use crate::model::Status;

/// A set of classes of entries.
///
/// A class is a combination of address family, layer 4 protocol, source NAT, destination
/// NAT, and whether a helper expected the flow: 128 of them, one bit each. An entry belongs
/// to one class. ICMP is a class of IPv4 and ICMPv6 one of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryClasses(u128);

/// The bits of a class's number: one for the family, three for the protocol, one each for
/// the NAT of both directions and for an expected flow.
const FAMILY: u8 = 1;
const PROTOCOL: u8 = 0b1110;
const SRC_NAT: u8 = 1 << 4;
const DST_NAT: u8 = 1 << 5;
const EXPECTED: u8 = 1 << 6;

impl EntryClasses {
    /// Number of classes.
    pub const COUNT: u8 = 128;
    /// No class.
    pub const NONE: Self = EntryClasses(0);
    /// Every class.
    pub const ALL: Self = EntryClasses(u128::MAX);
    /// IPv4.
    pub const V4: Self = Self::with(FAMILY, 0);
    /// IPv6.
    pub const V6: Self = Self::V4.complement();
    /// TCP.
    pub const TCP: Self = Self::of_protocol_class(0);
    /// UDP.
    pub const UDP: Self = Self::of_protocol_class(1);
    /// SCTP.
    pub const SCTP: Self = Self::of_protocol_class(2);
    /// DCCP.
    pub const DCCP: Self = Self::of_protocol_class(3);
    /// UDP-Lite.
    pub const UDP_LITE: Self = Self::of_protocol_class(4);
    /// GRE.
    pub const GRE: Self = Self::of_protocol_class(5);
    /// ICMP over IPv4, ICMPv6 over IPv6.
    pub const ICMP: Self = Self::of_protocol_class(6);
    /// Every other protocol.
    pub const OTHER: Self = Self::of_protocol_class(7);
    /// `IPS_SRC_NAT` is set.
    pub const SRC_NAT: Self = Self::with(SRC_NAT, SRC_NAT);
    /// `IPS_DST_NAT` is set.
    pub const DST_NAT: Self = Self::with(DST_NAT, DST_NAT);
    /// `IPS_EXPECTED` is set: the entry has a master.
    pub const EXPECTED: Self = Self::with(EXPECTED, EXPECTED);

    /// Protocols with a tracker that has ports on some kernels. GRE keys are not ports.
    pub const WITH_PORTS: Self = Self::TCP.union(Self::UDP).union(Self::SCTP).union(Self::DCCP).union(Self::UDP_LITE);

    /// The classes whose number is `value` under `mask`.
    const fn with(mask: u8, value: u8) -> Self {
        let (mut bits, mut number) = (0, 0);
        while number < Self::COUNT {
            if number & mask == value {
                bits |= 1 << number;
            }
            number += 1;
        }
        EntryClasses(bits)
    }

    const fn of_protocol_class(class: u8) -> Self {
        Self::with(PROTOCOL, class << 1)
    }

    /// The classes with this protocol number.
    #[must_use]
    pub fn of_protocol(number: u8) -> Self {
        match number {
            1 => Self::ICMP.intersection(Self::V4),
            6 => Self::TCP,
            17 => Self::UDP,
            33 => Self::DCCP,
            47 => Self::GRE,
            58 => Self::ICMP.intersection(Self::V6),
            132 => Self::SCTP,
            136 => Self::UDP_LITE,
            _ => Self::OTHER,
        }
    }

    /// The classes in which a status bit is set, if the class decides it.
    #[must_use]
    pub fn of_status_bit(bit: Status) -> Option<Self> {
        const DECIDING: [(Status, EntryClasses); 3] = [
            (Status::SrcNat, EntryClasses::SRC_NAT),
            (Status::DstNat, EntryClasses::DST_NAT),
            (Status::Expected, EntryClasses::EXPECTED),
        ];
        DECIDING.into_iter().find(|(known, _)| *known == bit).map(|(_, classes)| classes)
    }

    /// The union of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        EntryClasses(self.0 | other.0)
    }

    /// The intersection of both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        EntryClasses(self.0 & other.0)
    }

    /// The complement of the set.
    #[must_use]
    pub const fn complement(self) -> Self {
        EntryClasses(!self.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the class of this number, below [`Self::COUNT`], is in the set.
    #[must_use]
    pub const fn contains(self, number: u8) -> bool {
        self.0 >> (number % Self::COUNT) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_one_family_and_one_protocol() {
        let protocols = [
            EntryClasses::TCP,
            EntryClasses::UDP,
            EntryClasses::SCTP,
            EntryClasses::DCCP,
            EntryClasses::UDP_LITE,
            EntryClasses::GRE,
            EntryClasses::ICMP,
            EntryClasses::OTHER,
        ];
        let families = [EntryClasses::V4, EntryClasses::V6];
        for number in 0..EntryClasses::COUNT {
            for sets in [&protocols[..], &families[..]] {
                assert_eq!(sets.iter().filter(|set| set.contains(number)).count(), 1, "{number}");
            }
        }
    }

    #[test]
    fn every_class_has_a_protocol_number() {
        let all = (0..=u8::MAX).map(EntryClasses::of_protocol).fold(EntryClasses::NONE, EntryClasses::union);
        assert_eq!(all, EntryClasses::ALL);
        assert_eq!(EntryClasses::of_protocol(1).union(EntryClasses::of_protocol(58)), EntryClasses::ICMP);
    }

    #[test]
    fn a_status_bit_halves_the_classes() {
        for bit in [Status::SrcNat, Status::DstNat, Status::Expected] {
            let set = EntryClasses::of_status_bit(bit).map_or(0, |classes| classes.0.count_ones());
            assert_eq!(set, 64, "{bit:?}");
        }
        assert_eq!(EntryClasses::of_status_bit(Status::Assured), None);
    }
}
