//! The part of a filter that the kernel can apply to a dump, as an optimisation
//! (`ctnetlink_filter_match` in net/netfilter/nf_conntrack_netlink.c).
//!
//! Only conditions that every match fulfils: exact values that are terms of the outermost
//! `and`. So the kernel may send more than matches, never less; the filter is evaluated for
//! every entry that it sends. How a field is compared is an attribute of its row
//! ([`DumpFilter`]).

use std::net::{IpAddr, Ipv4Addr};

use super::node::Node;
use super::predicate::Filter;
use super::term::{Pattern, Term, Test};
use crate::field::{DumpFilter, FieldId};
use crate::model::Family;
use crate::table::{DumpRequest, Masked};

impl Filter {
    /// A dump request that leaves out entries which certainly do not match, as far as the
    /// kernel's filters are right.
    #[must_use]
    pub fn dump_request(&self) -> DumpRequest {
        let mut request = DumpRequest::default();
        match &self.root {
            Some(Node::All(parts)) => parts.iter().for_each(|part| push(part, &mut request)),
            Some(part) => push(part, &mut request),
            None => {}
        }
        if request.filter.orig.src.or(request.filter.orig.dst).is_some() {
            request.family = Some(Family::V4);
        }
        request
    }
}

impl Filter {
    /// The lower bound of the idle time of every match, in seconds; 0 if the filter does not
    /// require one.
    #[must_use]
    pub fn least_idle(&self) -> u64 {
        match &self.root {
            Some(Node::All(parts)) => parts.iter().map(least_idle).max().unwrap_or(0),
            Some(part) => least_idle(part),
            None => 0,
        }
    }

    /// Whether every match has certainly been idle for some time, so that no entry with a
    /// recent packet matches.
    #[must_use]
    pub fn bounds_idle_from_below(&self) -> bool {
        self.least_idle() > 0
    }
}

fn least_idle(part: &Node) -> u64 {
    match part {
        Node::Term(Term { field, test: Test::Numbers(ranges), .. }) if field.id == FieldId::Idle => {
            ranges.as_slice().first().map_or(0, |(low, _)| *low)
        }
        _ => 0,
    }
}

fn push(part: &Node, request: &mut DumpRequest) {
    match part {
        Node::Term(term) => push_term(term, request),
        Node::Not(part) => {
            if let Node::Term(Term { field, test: Test::Status { set: set @ 1.., unset: 0 }, .. }) = &**part
                && let Some(DumpFilter::Bits(add)) = field.dump_filter
            {
                // No bit of `set` is set.
                add(request, Masked { value: 0, mask: *set });
            }
        }
        Node::All(_) | Node::Any(_) => {}
    }
}

fn push_term(term: &Term, request: &mut DumpRequest) {
    match (term.field.dump_filter, &term.test) {
        (Some(DumpFilter::Number(add)), Test::Numbers(ranges)) => {
            if let [(low, high)] = ranges.as_slice()
                && low == high
            {
                add(request, *low);
            }
        }
        (Some(DumpFilter::Ipv4(add)), Test::Addresses(set)) => {
            if let Some(address) = single_v4(set.ranges()) {
                add(request, address);
            }
        }
        (Some(DumpFilter::Masked(add)), Test::Masked { ranges, patterns }) => {
            if let Some(value) = masked(ranges.as_slice(), patterns) {
                add(request, value);
            }
        }
        (Some(DumpFilter::Bits(add)), Test::Status { set, unset: 0 }) if set.is_power_of_two() => {
            add(request, Masked { value: *set, mask: *set });
        }
        (Some(DumpFilter::Bits(add)), Test::Status { set: 0, unset }) if unset.is_power_of_two() => {
            add(request, Masked { value: 0, mask: *unset });
        }
        _ => {}
    }
}

fn single_v4(mut ranges: impl Iterator<Item = (IpAddr, IpAddr)>) -> Option<Ipv4Addr> {
    match (ranges.next(), ranges.next()) {
        (Some((IpAddr::V4(low), IpAddr::V4(high))), None) if low == high => Some(low),
        _ => None,
    }
}

fn masked(ranges: &[(u64, u64)], patterns: &[Pattern]) -> Option<Masked> {
    match (ranges, patterns) {
        ([(low, high)], []) if low == high => u32::try_from(*low).ok().map(|value| Masked { value, mask: u32::MAX }),
        ([], [pattern]) => {
            Some(Masked { value: u32::try_from(pattern.value).ok()?, mask: u32::try_from(pattern.mask).ok()? })
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Protocol;
    use crate::table::KernelFilter;

    fn parse(expression: &str) -> Filter {
        expression.parse().unwrap()
    }

    fn request(expression: &str) -> DumpRequest {
        parse(expression).dump_request()
    }

    #[test]
    fn exact_values_of_the_outermost_and_are_pushed_down() {
        let found = request("tcp and src 10.0.0.1 and dport 443 and assured and not dying and mark 1/3 and zone 5");
        assert_eq!(found.family, Some(Family::V4));
        assert_eq!(found.filter.orig.src, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!((found.filter.orig.protocol, found.filter.orig.dport), (Some(Protocol::Tcp), Some(443)));
        assert_eq!(found.filter.status, Some(Masked { value: 4, mask: 4 | 1 << 9 }));
        assert_eq!((found.filter.mark, found.filter.zone), (Some(Masked { value: 1, mask: 3 }), Some(5)));
        assert_eq!(request("ipv6").family, Some(Family::V6));
    }

    #[test]
    fn what_the_kernel_compares_wrongly_or_not_at_all_is_not_pushed_down() {
        for expression in [
            "src 2001:db8::1",
            "src 10.0.0.0/8",
            "src 10.0.0.1,10.0.0.2",
            "reply-src 10.0.0.1",
            "addr 10.0.0.1",
            "not src 10.0.0.1",
            "src 10.0.0.1 or udp",
            "zone 0",
            "status assured,offload",
            "not mark 5",
            "any-addr 10.0.0.1",
        ] {
            let found = request(expression);
            assert_eq!((found.family, found.filter), (None, KernelFilter::default()), "{expression}");
        }
    }

    #[test]
    fn the_least_idle_time_is_that_of_the_outermost_and() {
        let least = |expression: &str| parse(expression).least_idle();
        assert_eq!(least("tcp and idle >= 12h"), 43_200);
        assert_eq!(least("idle > 1m and idle < 2h"), 61);
        assert_eq!(least("idle >= 1h or udp"), 0);
        assert_eq!(least("not idle < 1h"), 0);
        assert_eq!(least("tcp"), 0);
        let bounds = |expression: &str| parse(expression).bounds_idle_from_below();
        assert!(bounds("tcp and idle >= 12h") && bounds("idle > 0"));
        assert!(!bounds("") && !bounds("idle >= 0") && !bounds("idle < 12h") && !bounds("idle >= 1h or udp"));
    }

    #[test]
    fn each_field_with_a_dump_filter_has_an_exact_value_that_is_pushed_down() {
        for field in crate::field::FIELDS {
            let terms = ["5", "10.0.0.1", "tcp", "ipv4", "assured"].map(|value| format!("{} {value}", field.name));
            let requests = terms.iter().filter_map(|term| Some(term.parse::<Filter>().ok()?.dump_request()));
            let is_pushed = requests.into_iter().any(|request| request != DumpRequest::default());
            assert_eq!(is_pushed, field.dump_filter.is_some(), "{}", field.name);
        }
    }

    #[test]
    fn contradictions_are_left_to_the_filter() {
        assert_eq!(request("assured and not assured").filter.status, Some(Masked { value: 4, mask: 4 }));
    }
}
