//! What flows are grouped by: fields, or the networks of address fields.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::error::{GroupError, GroupErrorKind};
use crate::field::{Addresses, Field, FieldId, Subject, Value, ValueKind, field};

/// One key of a group: the value of a field (`dport`), or the network of an address (`src/24`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBy {
    /// The field.
    pub field: &'static Field,
    /// The lengths of the networks; `None`: whole values.
    pub prefixes: Option<Prefixes>,
}

/// The prefix lengths by which addresses are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes {
    /// Of IPv4 addresses, at most 32.
    pub v4: u8,
    /// Of IPv6 addresses, at most 128.
    pub v6: u8,
}

/// The IPv6 network of one link.
const LINK: u8 = 64;
const V4_BITS: u8 = 32;
const V6_BITS: u8 = 128;

impl GroupBy {
    /// The value of a flow.
    #[inline]
    pub(super) fn value<'a>(&self, subject: &Subject<'a>) -> Value<'a> {
        match ((self.field.value)(subject), self.prefixes) {
            (Value::Address(address), _) => self.of_address(address),
            (value, _) => value,
        }
    }
}

impl GroupBy {
    /// Whether a flow has several addresses of the field, and belongs to the group of each.
    pub(super) fn has_several_values(&self) -> bool {
        self.field.multi && self.field.kind == ValueKind::Address
    }

    /// The addresses of a flow, of a field that has several.
    pub(super) fn addresses<'a>(&self, subject: &Subject<'a>) -> Option<Addresses<'a>> {
        match (self.field.value)(subject) {
            Value::Addresses(addresses) => Some(addresses),
            _ => None,
        }
    }

    /// The address, or its network.
    pub(super) fn of_address(&self, address: IpAddr) -> Value<'static> {
        self.prefixes.map_or(Value::Address(address), |prefixes| prefixes.network(address))
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.name)?;
        match self.prefixes {
            None => Ok(()),
            // `src/32` and `src/64` are the same, and one length would be that of one family only.
            Some(Prefixes { v4: V4_BITS, v6: LINK }) => write!(f, "/{V4_BITS}/{LINK}"),
            Some(Prefixes { v4, v6: LINK }) => write!(f, "/{v4}"),
            Some(Prefixes { v4: V4_BITS, v6 }) if v6 > V4_BITS => write!(f, "/{v6}"),
            Some(Prefixes { v4, v6 }) => write!(f, "/{v4}/{v6}"),
        }
    }
}

impl Prefixes {
    fn network(self, address: IpAddr) -> Value<'static> {
        let length = if address.is_ipv4() { self.v4 } else { self.v6 };
        IpNet::new(address, length).map_or(Value::Address(address), |network| Value::Network(network.trunc()))
    }

    /// `24`: /24 and /64; `48`: /32 and /48; `16/48`.
    fn parse(text: &str) -> Option<Self> {
        let length = |text: &str, most| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|length| is_number && *length <= most)
        };
        match text.split_once('/') {
            Some((v4, v6)) => Some(Prefixes { v4: length(v4, V4_BITS)?, v6: length(v6, V6_BITS)? }),
            None => Some(match length(text, V6_BITS)? {
                v4 @ 0..=V4_BITS => Prefixes { v4, v6: LINK },
                v6 => Prefixes { v4: V4_BITS, v6 },
            }),
        }
    }
}

/// Parses names separated by commas: `src/24,dport`.
pub(super) fn parse(names: &str) -> Result<Vec<GroupBy>, GroupError> {
    let mut all: Vec<GroupBy> = Vec::new();
    let mut start = 0;
    for item in names.split(',') {
        let name = item.trim();
        let at = start + item.len() - item.trim_start().len();
        start += item.len() + 1;
        if name.is_empty() {
            continue;
        }
        let by = parse_item(name, at)?;
        if all.iter().any(|known| known.field == by.field) {
            return Err(GroupErrorKind::Twice(by.field.name).at(at..at + name.len()));
        }
        if let Some(known) = all.iter().find(|known| known.has_several_values() && by.has_several_values()) {
            return Err(GroupErrorKind::BothSeveral(known.field.name, by.field.name).at(at..at + name.len()));
        }
        all.push(by);
    }
    name_protocol_of_state(&mut all);
    if all.is_empty() { Err(GroupErrorKind::Empty.at(0..names.len())) } else { Ok(all) }
}

/// A state is one of a protocol: TCP and SCTP both have an ESTABLISHED. So the protocol is in front of it, unless it
/// is grouped by anyway.
fn name_protocol_of_state(all: &mut Vec<GroupBy>) {
    let place = |id| all.iter().position(|by: &GroupBy| by.field.id == id);
    if let (Some(state), None) = (place(FieldId::State), place(FieldId::Protocol))
        && let Some(field) = field("proto")
    {
        all.insert(state, GroupBy { field, prefixes: None });
    }
}

fn parse_item(item: &str, at: usize) -> Result<GroupBy, GroupError> {
    let (name, lengths) = item.split_once('/').map_or((item, None), |(name, lengths)| (name, Some(lengths)));
    let of_name = at..at + name.len();
    let of_lengths: Range<usize> = of_name.end..at + item.len();
    let Some(field) = field(&name.to_ascii_lowercase()) else {
        return Err(GroupErrorKind::Unknown(name.into()).at(of_name));
    };
    if !field.groupable {
        return Err(GroupErrorKind::NotGroupable(field.name).at(of_name));
    }
    let prefixes = match lengths {
        None => None,
        Some(_) if field.kind != ValueKind::Address => {
            return Err(GroupErrorKind::NoNetworks(field.name).at(of_lengths));
        }
        Some(text) => {
            let prefixes = Prefixes::parse(text).ok_or_else(|| GroupErrorKind::Prefix(text.into()).at(of_lengths))?;
            Some(prefixes)
        }
    };
    Ok(GroupBy { field, prefixes })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn network(item: &str, address: &str) -> String {
        let by = parse(item).unwrap().pop().unwrap();
        by.prefixes.unwrap().network(address.parse().unwrap()).to_string()
    }

    #[test]
    fn a_length_up_to_32_is_that_of_ipv4_networks_and_those_of_ipv6_are_64() {
        assert_eq!(network("src/24", "192.0.2.77"), "192.0.2.0/24");
        assert_eq!(network("src/24", "2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(network("src/0", "192.0.2.77"), "0.0.0.0/0");
        assert_eq!(network("src/32", "192.0.2.77"), "192.0.2.77/32");
    }

    #[test]
    fn a_length_above_32_is_that_of_ipv6_networks_and_two_lengths_are_of_both() {
        assert_eq!(network("nat-src/56", "2001:db8:1:2345::1"), "2001:db8:1:2300::/56");
        assert_eq!(network("src/56", "192.0.2.77"), "192.0.2.77/32");
        assert_eq!(network("src/16/48", "192.0.2.77"), "192.0.0.0/16");
        assert_eq!(network("src/16/48", "2001:db8:1:2::1"), "2001:db8:1::/48");
    }

    #[test]
    fn a_key_is_printed_as_it_is_written() {
        for item in ["src", "src/24", "dst/48", "src/16/48", "reply-dst/0"] {
            assert_eq!(parse(item).unwrap().pop().unwrap().to_string(), item);
        }
        for item in ["src/32", "src/64", "src/32/64"] {
            assert_eq!(parse(item).unwrap().pop().unwrap().to_string(), "src/32/64", "{item}");
        }
    }

    #[test]
    fn a_wrong_length_is_an_error_at_its_place() {
        for (names, span) in [
            ("dport,src/129", 9..13),
            ("src/", 3..4),
            ("src/x", 3..5),
            ("src/+8", 3..6),
            ("src/33/64", 3..9),
            ("src/24/129", 3..10),
            ("src/24/64/1", 3..11),
            (" state/24", 6..9),
        ] {
            assert_eq!(parse(names).unwrap_err().span, span, "{names}");
        }
    }
}
