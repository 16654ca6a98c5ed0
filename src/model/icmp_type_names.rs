//! Names of ICMP and ICMPv6 types.

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
