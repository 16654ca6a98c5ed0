//! The types of ICMP and ICMPv6 that entries have, and their names.

use super::classes::EntryClasses;

/// The types that the kernel tracks (`invmap` in net/netfilter/nf_conntrack_proto_icmp.c and
/// in nf_conntrack_proto_icmpv6.c).
pub(super) const ICMP_TYPES: &[(EntryClasses, &[u64])] = &[
    (EntryClasses::ICMP.intersection(EntryClasses::V4), &[0, 8, 13, 14, 15, 16, 17, 18]),
    (EntryClasses::ICMP.intersection(EntryClasses::V6), &[128, 129, 139, 140]),
];

/// Names of the types that entries have, as in nft(8). One that ICMP and ICMPv6 share has both numbers:
/// no entry of one of them has the number of the other.
pub const ICMP_TYPE_NAMES: &[(&str, &[u8])] = &[
    ("echo-request", &[8, 128]),
    ("echo-reply", &[0, 129]),
    ("timestamp-request", &[13]),
    ("timestamp-reply", &[14]),
    ("info-request", &[15]),
    ("info-reply", &[16]),
    ("address-mask-request", &[17]),
    ("address-mask-reply", &[18]),
];

/// Names in nft(8) of types that no entry has.
const UNTRACKED: &[&str] = &[
    "destination-unreachable",
    "source-quench",
    "redirect",
    "router-advertisement",
    "router-solicitation",
    "time-exceeded",
    "parameter-problem",
    "packet-too-big",
    "mld-listener-query",
    "mld-listener-report",
    "mld-listener-done",
    "mld-listener-reduction",
    "mld2-listener-report",
    "nd-router-solicit",
    "nd-router-advert",
    "nd-neighbor-solicit",
    "nd-neighbor-advert",
    "nd-redirect",
    "router-renumbering",
    "ind-neighbor-solicit",
    "ind-neighbor-advert",
];

/// The types with this name; case is ignored, `_` equals `-`. Empty if no entry has such a type.
#[must_use]
pub fn icmp_types(name: &str) -> &'static [u8] {
    let name = normal(name);
    ICMP_TYPE_NAMES.iter().find(|(known, _)| *known == name).map(|(_, types)| *types).unwrap_or_default()
}

/// Whether a name is that of a type that no entry has: an error, whose packets belong to the entry of the
/// flow that they are about, or a message that the kernel does not track.
#[must_use]
pub fn is_untracked_icmp_type(name: &str) -> bool {
    UNTRACKED.contains(&&*normal(name))
}

fn normal(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_of_types_that_entries_have_one_for_each_family() {
        for (name, types) in ICMP_TYPE_NAMES {
            assert_eq!(icmp_types(&name.to_ascii_uppercase().replace('-', "_")), *types);
            for (place, kind) in types.iter().enumerate() {
                let of_family = ICMP_TYPES.get(place).map(|(_, tracked)| *tracked).unwrap_or_default();
                assert!(of_family.contains(&u64::from(*kind)), "{name}");
            }
            assert!(!is_untracked_icmp_type(name));
        }
        assert!(icmp_types("redirect").is_empty() && is_untracked_icmp_type("redirect"));
    }
}
