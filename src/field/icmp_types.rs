//! The types of ICMP and ICMPv6 that entries have.

use super::classes::EntryClasses;

/// The types that the kernel tracks (`invmap` in net/netfilter/nf_conntrack_proto_icmp.c and
/// in nf_conntrack_proto_icmpv6.c).
pub(super) const ICMP_TYPES: &[(EntryClasses, &[u64])] = &[
    (EntryClasses::ICMP.intersection(EntryClasses::V4), &[0, 8, 13, 14, 15, 16, 17, 18]),
    (EntryClasses::ICMP.intersection(EntryClasses::V6), &[128, 129, 139, 140]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ICMP_TYPE_NAMES, icmp_types, is_untracked_icmp_type};

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
