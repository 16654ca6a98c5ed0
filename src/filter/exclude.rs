//! The part of a filter that the kernel can apply to events before it queues them: a rejected
//! event uses no buffer space, does not wake the reader and cannot be lost.
//!
//! Only events of entries that certainly never match are rejected: by terms of the outermost
//! `and` about fields that do not change while the entry exists ([`EventFilter`]). A message
//! without the attribute is accepted, and so is one that is no conntrack entry. The filter is
//! evaluated for every event that is accepted.
//!
//! The program is classic BPF on the socket (`SO_ATTACH_FILTER`). Attributes are found by the
//! extensions `SKF_AD_NLATTR` and `SKF_AD_NLATTR_NEST` (`bpf_skb_get_nlattr` and
//! `bpf_skb_get_nlattr_nest` in net/core/filter.c). It runs before a message is queued
//! (`sk_filter` in `do_one_broadcast`, net/netlink/af_netlink.c).

use super::node::Node;
use super::predicate::Filter;
use super::ranges::AddressSet;
use super::term::{Term, Test};
use crate::field::EventFilter;
use crate::netlink::{Instruction, Size, SocketFilter};
use crate::wire::Family;
use crate::wire::uapi::nfnl_subsys;

/// Offset of the subsystem in a message: the high byte of `nlmsg_type`, which is in host byte
/// order.
const SUBSYSTEM: u32 = if cfg!(target_endian = "big") { 4 } else { 5 };

/// Offset of `nfgen_family`, after the netlink header.
const FAMILY: u32 = 16;

/// Offset of the first attribute.
const ATTRIBUTES: u32 = 20;

/// The bytes of an attribute before its value.
const HEADER: u32 = 4;

/// Most ranges of a check: with more, the program takes the kernel longer than it saves.
const MOST_RANGES: usize = 32;

/// The kernel accepts 4096 instructions (`BPF_MAXINSNS`), but their memory is limited, too
/// (`net.core.optmem_max`: `sk_filter_charge` in net/core/filter.c).
const MOST_INSTRUCTIONS: usize = 1000;

impl Filter {
    /// A program that rejects events of entries which certainly do not match; `None` where
    /// no term of the filter can be compared in the kernel.
    #[must_use]
    pub fn exclusion(&self) -> Option<SocketFilter> {
        let parts = match &self.root {
            Some(Node::All(parts)) => parts.as_slice(),
            Some(part) => std::slice::from_ref(part),
            None => &[],
        };
        let mut checks: Vec<Check> = parts.iter().filter_map(term).flat_map(checks).collect();
        // Checks with the fewest nested attributes first.
        checks.sort_by_key(|check| check.path.len());
        let mut program =
            vec![Instruction::load_byte(SUBSYSTEM), Instruction::if_equal(nfnl_subsys::CTNETLINK.into(), 1, 0)];
        program.push(Instruction::accept());
        let empty = program.len();
        for check in checks {
            let code = check.code();
            if program.len() + code.len() < MOST_INSTRUCTIONS {
                program.extend(code);
            }
        }
        let has_checks = program.len() > empty;
        program.push(Instruction::accept());
        has_checks.then(|| SocketFilter::new(program))
    }
}

fn term(part: &Node) -> Option<&Term> {
    if let Node::Term(term) = part { Some(term) } else { None }
}

/// A condition on one value of a message.
struct Check {
    /// Attribute numbers, outermost first; empty: `nfgen_family`.
    path: &'static [u16],
    /// Only for messages of this family.
    family: Option<Family>,
    wanted: Wanted,
}

enum Wanted {
    /// A number in one of these ranges, in ascending order.
    In(Size, Vec<(u32, u32)>),
    /// An IPv6 address that equals the first value under the mask, the second.
    Under(u128, u128),
}

/// The conditions that every match of `term` fulfils.
fn checks(term: &Term) -> Vec<Check> {
    match (term.field.event_filter, &term.test) {
        (Some(EventFilter::Number { path, size }), Test::Numbers(ranges)) => numbers(path, size, ranges.as_slice()),
        (Some(EventFilter::Address { v4, v6 }), Test::Addresses(set)) => addresses([v4, v6], set),
        _ => Vec::new(),
    }
}

fn numbers(path: &'static [u16], size: Size, ranges: &[(u64, u64)]) -> Vec<Check> {
    // No value of the field is larger than 32 bits.
    let clamp = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let ranges: Vec<(u32, u32)> = ranges.iter().map(|(low, high)| (clamp(*low), clamp(*high))).collect();
    if ranges.len() > MOST_RANGES {
        Vec::new()
    } else {
        vec![Check { path, family: None, wanted: Wanted::In(size, ranges) }]
    }
}

/// The family, and the address of each family: IPv4 ranges, and IPv6 if there is exactly one
/// network.
fn addresses([v4_path, v6_path]: [&'static [u16]; 2], set: &AddressSet) -> Vec<Check> {
    let (v4, v6) = (set.v4.as_slice(), set.v6.as_slice());
    let mut families: Vec<(u32, u32)> = Vec::new();
    let mut checks = Vec::new();
    if !v4.is_empty() {
        families.push((Family::V4.number().into(), Family::V4.number().into()));
    }
    if !v6.is_empty() {
        families.push((Family::V6.number().into(), Family::V6.number().into()));
    }
    checks.push(Check { path: &[], family: None, wanted: Wanted::In(Size::Byte, families) });
    if (1..=MOST_RANGES).contains(&v4.len()) {
        let wanted = Wanted::In(Size::Word, v4.to_vec());
        checks.push(Check { path: v4_path, family: Some(Family::V4), wanted });
    }
    if let [(low, high)] = v6
        && let Some(mask) = mask(*low, *high)
    {
        checks.push(Check { path: v6_path, family: Some(Family::V6), wanted: Wanted::Under(*low, mask) });
    }
    checks
}

/// The mask of the network from `low` to `high`, if it is one.
fn mask(low: u128, high: u128) -> Option<u128> {
    let free = low ^ high;
    let is_network = free & free.wrapping_add(1) == 0 && low & free == 0;
    is_network.then_some(!free)
}

impl Check {
    fn code(&self) -> Vec<Instruction> {
        let mut code = Vec::new();
        self.push_search(&mut code);
        match &self.wanted {
            Wanted::In(size, ranges) => {
                code.push(match self.path {
                    [] => Instruction::load_byte(FAMILY),
                    _ => Instruction::load_indexed(*size, HEADER),
                });
                push_membership(&mut code, ranges);
            }
            Wanted::Under(address, mask) => push_network(&mut code, *address, *mask),
        }
        if let Some(family) = self.family
            && let Ok(whole) = u8::try_from(code.len())
        {
            let other = [Instruction::load_byte(FAMILY), Instruction::if_equal(family.number().into(), 0, whole)];
            code.splice(0..0, other);
        }
        code
    }

    /// Sets the index register to the attribute; accepts a message without the attribute.
    fn push_search(&self, code: &mut Vec<Instruction>) {
        let Some((outermost, nested)) = self.path.split_first() else { return };
        let outermost = (outermost, Instruction::find_attribute());
        let nested = nested.iter().map(|number| (number, Instruction::find_nested()));
        code.push(Instruction::load(ATTRIBUTES));
        for (number, find) in std::iter::once(outermost).chain(nested) {
            code.extend([Instruction::load_index((*number).into()), find]);
            code.extend([Instruction::if_equal(0, 0, 1), Instruction::accept()]);
        }
        code.push(Instruction::index_from_accumulator());
    }
}

/// Rejects a message whose address is not `address` under `mask`, in words of 32 bits.
fn push_network(code: &mut Vec<Instruction>, address: u128, mask: u128) {
    for (offset, shift) in [(0, 96), (4, 64), (8, 32), (12, 0)] {
        // The 32 bits of this word.
        let [address, mask] = [address, mask].map(|bits| (bits >> shift) as u32);
        if mask != 0 {
            code.extend([Instruction::load_indexed(Size::Word, HEADER + offset), Instruction::mask(mask)]);
            code.extend([Instruction::if_equal(address & mask, 1, 0), Instruction::reject()]);
        }
    }
}

/// Rejects a number that is in none of `ranges`, which are in ascending order.
fn push_membership(code: &mut Vec<Instruction>, ranges: &[(u32, u32)]) {
    let mut to_rejection = u8::try_from(2 * ranges.len()).unwrap_or(u8::MAX);
    for (low, high) in ranges {
        to_rejection = to_rejection.saturating_sub(1);
        code.push(Instruction::if_at_least(*low, 0, to_rejection));
        code.push(Instruction::if_above(*high, 0, to_rejection));
        to_rejection = to_rejection.saturating_sub(1);
    }
    code.push(Instruction::reject());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::field::FIELDS;

    #[test]
    fn exactly_the_fields_with_an_event_filter_exclude_events() {
        for field in FIELDS {
            let filter: Filter = field.example.parse().unwrap();
            assert_eq!(filter.exclusion().is_some(), field.event_filter.is_some(), "{}", field.example);
        }
    }

    #[test]
    fn alternatives_and_negations_exclude_no_event() {
        for expression in ["", "tcp or udp and ipv4 or assured", "not tcp", "tcp or mark 1"] {
            assert!(expression.parse::<Filter>().unwrap().exclusion().is_none(), "{expression}");
        }
    }
}
