//! A filter as text, in normal form. The text is parsed as the same filter.
//!
//! `{:#}` shortens long sets; that text cannot be parsed.

use std::fmt;
use std::net::IpAddr;

use super::node::Node;
use super::predicate::Filter;
use super::ranges::{Ranges, v6};
use super::term::{Pattern, Term, Test};
use crate::field::ValueKind;
use crate::units::Seconds;

/// Values of a set that `{:#}` shows.
const SHOWN: usize = 6;

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.as_ref().map_or(Ok(()), |root| write_node(f, root, Within::Nothing))
    }
}

/// The parent of a node, which decides whether the node needs parentheses.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    Nothing,
    Any,
    All,
    Not,
}

fn write_node(f: &mut fmt::Formatter<'_>, node: &Node, within: Within) -> fmt::Result {
    match node {
        Node::Term(term) => write_term(f, term),
        Node::Not(part) => {
            f.write_str("not ")?;
            write_node(f, part, Within::Not)
        }
        Node::All(parts) => write_parts(f, parts, " and ", Within::All, within == Within::Not),
        Node::Any(parts) => write_parts(f, parts, " or ", Within::Any, matches!(within, Within::Not | Within::All)),
    }
}

fn write_parts(
    f: &mut fmt::Formatter<'_>,
    parts: &[Node],
    join: &str,
    within: Within,
    parentheses: bool,
) -> fmt::Result {
    f.write_str(if parentheses { "(" } else { "" })?;
    for (i, part) in parts.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { join })?;
        write_node(f, part, within)?;
    }
    f.write_str(if parentheses { ")" } else { "" })
}

fn write_term(f: &mut fmt::Formatter<'_>, term: &Term) -> fmt::Result {
    f.write_str(term.field.name)?;
    let kind = term.field.kind;
    match &term.test {
        test if test.is_empty() && !term.empty_files.is_empty() => {
            write_list(f, term.empty_files.iter().map(|path| file(path)))
        }
        Test::Present => f.write_str(" any"),
        Test::Addresses(set) => write_list(f, set.ranges().flat_map(|(low, high)| addresses(low, high))),
        Test::Texts(texts) => write_list(f, texts.iter().map(|text| quote(text))),
        Test::Masked { ranges, patterns } if patterns.is_empty() => write_ranges(f, ranges, kind),
        Test::Masked { ranges, patterns } => {
            let ranges = ranges.as_slice().iter().map(|(low, high)| range(*low, *high, kind));
            write_list(f, ranges.chain(patterns.iter().map(Pattern::to_string)))
        }
        Test::Numbers(ranges) if term.words.is_empty() => write_ranges(f, ranges, kind),
        Test::Numbers(_) | Test::Status { .. } | Test::Labels { .. } => {
            write_list(f, term.words.iter().map(|word| word.to_string()))
        }
    }
}

fn write_ranges(f: &mut fmt::Formatter<'_>, ranges: &Ranges<u64>, kind: ValueKind) -> fmt::Result {
    let max = kind.max();
    match *ranges.as_slice() {
        [] => f.write_str(" < 0"),
        [(low, high)] if low == high => write!(f, " = {}", number(low, kind)),
        [(0, high)] if high < max => write!(f, " <= {}", number(high, kind)),
        [(low, high)] if high >= max => write!(f, " >= {}", number(low, kind)),
        _ => write_list(f, ranges.as_slice().iter().map(|(low, high)| range(*low, *high, kind))),
    }
}

/// ` a`, or ` {a, b}`.
fn write_list(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = String>) -> fmt::Result {
    let items: Vec<String> = items.collect();
    let [item] = &*items else {
        let shown = if f.alternate() && items.len() > SHOWN + 1 { SHOWN } else { items.len() };
        let listed = items.get(..shown).unwrap_or_default().join(", ");
        return match items.len() - shown {
            0 => write!(f, " {{{listed}}}"),
            more => write!(f, " {{{listed}, … {more} more}}"),
        };
    };
    write!(f, " {item}")
}

fn range(low: u64, high: u64, kind: ValueKind) -> String {
    if low == high { number(low, kind) } else { format!("{}-{}", number(low, kind), number(high, kind)) }
}

fn number(number: u64, kind: ValueKind) -> String {
    match kind {
        ValueKind::Duration => Seconds(number).to_string(),
        _ => number.to_string(),
    }
}

/// The name of a file of values, in quotation marks where it would end early.
fn file(path: &str) -> String {
    let is_plain = !path.contains(|c: char| c.is_whitespace() || matches!(c, ',' | ')' | '}' | '"'));
    if is_plain { format!("@{path}") } else { format!("@\"{path}\"") }
}

/// The first and the last address of `::fffe:0:0/95`, the smallest network with addresses that are not IPv4-mapped
/// and all that are.
const AROUND_MAPPED: (u128, u128) = (0xfffe_0000_0000, 0xffff_ffff_ffff);

/// An address, a network if the range is one, or a range.
///
/// An IPv4-mapped address is an IPv4 address where it is the end of a range. A union with a network of IPv6 may end
/// in the last one: it is written as a range and that network.
fn addresses(low: IpAddr, high: IpAddr) -> Vec<String> {
    let (first, last) = AROUND_MAPPED;
    match low {
        IpAddr::V6(start) if high == v6(last) && start.to_bits() < first && network(low, high).is_none() => {
            vec![span(low, v6(first - 1)), span(v6(first), high)]
        }
        _ => vec![span(low, high)],
    }
}

fn span(low: IpAddr, high: IpAddr) -> String {
    if low == high {
        return low.to_string();
    }
    network(low, high).unwrap_or_else(|| format!("{low}-{high}"))
}

/// The network that is the range, if there is one.
fn network(low: IpAddr, high: IpAddr) -> Option<String> {
    let (low_bits, high_bits, length) = match (low, high) {
        (IpAddr::V4(low), IpAddr::V4(high)) => (u128::from(low.to_bits()), u128::from(high.to_bits()), 32),
        (IpAddr::V6(low), IpAddr::V6(high)) => (low.to_bits(), high.to_bits(), 128),
        _ => return None,
    };
    let host = low_bits ^ high_bits;
    let is_network = host & host.wrapping_add(1) == 0 && low_bits & host == 0;
    is_network.then(|| format!("{low}/{}", length - host.count_ones()))
}

/// Quotes a text that would be parsed as something else.
fn quote(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':'));
    let reserved = ["and", "or", "not", "any", "none"].iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_plain && !reserved { text.to_owned() } else { format!("\"{text}\"") }
}
