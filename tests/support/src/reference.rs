//! The reference evaluator: shares no code with the library's, uses no sets and no tables, and follows
//! the documentation of each term. `None` is undecided.

use std::net::IpAddr;

use ctnl::age::{Age, Idle, IdleEstimator};
use ctnl::model::{Flow, L4, ProtoInfo, Protocol, Status};

/// A random expression.
#[derive(Debug, Clone)]
pub enum Ast {
    And(Vec<Ast>),
    Or(Vec<Ast>),
    Not(Box<Ast>),
    Term(Term),
}

/// A term.
#[derive(Debug, Clone)]
pub enum Term {
    /// A term without a value.
    Keyword(&'static str),
    Proto(Vec<u8>),
    Address(&'static str, Vec<(IpAddr, u8)>),
    Port(&'static str, Vec<(u16, u16)>),
    State(Vec<&'static str>),
    Status(Vec<&'static str>),
    Nat(&'static str),
    Mark(u32, u32),
    Label(&'static str),
    LabelBits(u128, u128),
    Helper(&'static str),
    Secctx(&'static str),
    TcpFlags(&'static str, u8, u8),
    Attribute(u16),
    Zone(u16),
    Compare(&'static str, &'static str, u64),
}

impl Ast {
    /// The expression as text, with all brackets.
    pub fn text(&self) -> String {
        let join = |parts: &[Ast], word: &str| {
            format!("({})", parts.iter().map(Ast::text).collect::<Vec<_>>().join(&format!(" {word} ")))
        };
        match self {
            Ast::And(parts) => join(parts, "and"),
            Ast::Or(parts) => join(parts, "||"),
            Ast::Not(part) => format!("not {}", part.text()),
            Ast::Term(term) => term.text(),
        }
    }

    pub fn evaluate(&self, flow: &Flow, estimator: &IdleEstimator) -> Option<bool> {
        match self {
            Ast::And(parts) => {
                let all: Vec<_> = parts.iter().map(|part| part.evaluate(flow, estimator)).collect();
                if all.contains(&Some(false)) {
                    Some(false)
                } else if all.contains(&None) {
                    None
                } else {
                    Some(true)
                }
            }
            Ast::Or(parts) => Ast::And(parts.iter().cloned().map(|part| Ast::Not(Box::new(part))).collect())
                .evaluate(flow, estimator)
                .map(|all| !all),
            Ast::Not(part) => part.evaluate(flow, estimator).map(|holds| !holds),
            Ast::Term(term) => term.evaluate(flow, estimator),
        }
    }
}

const UNITS: [(&str, u64); 2] = [("h", 3600), ("m", 60)];

fn time(seconds: u64) -> String {
    let unit = UNITS.iter().find(|(_, factor)| seconds != 0 && seconds.is_multiple_of(*factor));
    unit.map_or(format!("{seconds}s"), |(unit, factor)| format!("{}{unit}", seconds / factor))
}

impl Term {
    fn text(&self) -> String {
        let list =
            |items: Vec<String>| if items.len() == 1 { items[0].clone() } else { format!("{{{}}}", items.join(", ")) };
        match self {
            Term::Keyword(word) => (*word).to_owned(),
            Term::Proto(numbers) => format!("proto {}", list(numbers.iter().map(u8::to_string).collect())),
            Term::Address(field, nets) => {
                format!(
                    "{field} {}",
                    list(nets.iter().map(|(address, length)| format!("{address}/{length}")).collect())
                )
            }
            Term::Port(field, ranges) => {
                format!("{field} = {}", list(ranges.iter().map(|(low, high)| format!("{low}-{high}")).collect()))
            }
            Term::State(names) => format!("state {}", names.join(",")),
            Term::Status(names) => format!("status {}", list(names.iter().map(|name| (*name).to_owned()).collect())),
            Term::Nat(word) => format!("nat {word}"),
            Term::Mark(value, mask) => format!("mark {value:#x}/{mask:#x}"),
            Term::Label(word) => format!("label {word}"),
            Term::LabelBits(value, mask) => format!("label {value:#x}/{mask}"),
            Term::Helper(word) => format!("helper {word}"),
            Term::Secctx(word) => format!("secctx {word}"),
            Term::TcpFlags(field, value, mask) => format!("{field} {value}/{mask:#x}"),
            Term::Attribute(number) => format!("attribute {number}"),
            Term::Zone(zone) => format!("zone == {zone}"),
            Term::Compare(field @ ("idle" | "age" | "timeout"), op, seconds) => {
                format!("{field} {op} {}", time(*seconds))
            }
            Term::Compare(field, op, number) => format!("{field}{op}{number}"),
        }
    }

    fn evaluate(&self, flow: &Flow, estimator: &IdleEstimator) -> Option<bool> {
        let status = flow.status.bits();
        Some(match self {
            Term::Keyword("ipv4") => flow.orig.src.is_ipv4(),
            Term::Keyword("ipv6" | "family ipv6") => flow.orig.src.is_ipv6(),
            Term::Keyword("tcp") => flow.orig.protocol == Protocol::Tcp,
            Term::Keyword("udp") => flow.orig.protocol == Protocol::Udp,
            Term::Keyword("unreplied") => status & 2 == 0,
            Term::Keyword("assured") => status & 4 != 0,
            Term::Keyword("icmp") => flow.orig.protocol == Protocol::Icmp,
            Term::Keyword("proto gre") => flow.orig.protocol == Protocol::Gre,
            Term::Keyword("src-nat") => status & 16 != 0,
            Term::Keyword(word) => unreachable!("{word}"),
            Term::Proto(numbers) => numbers.contains(&u8::from(flow.orig.protocol)),
            // The kernel sends a master with every flow that was expected.
            Term::Address("master-src" | "master-dst", _) if status & 1 != 0 && flow.master.is_none() => return None,
            Term::Address(field, nets) => {
                addresses(flow, field).iter().any(|address| nets.iter().any(|net| inside(*address, *net)))
            }
            Term::Port(field, ranges) => {
                let ports = ports(flow, field);
                ports.iter().any(|port| ranges.iter().any(|(low, high)| low <= port && port <= high))
            }
            Term::State(names) => {
                let has_state = match u8::from(flow.orig.protocol) {
                    6 | 132 => true,
                    33 => flow.orig.l4 != L4::None,
                    _ => false,
                };
                if has_state && status & (1 << 14 | 1 << 15) != 0 {
                    return None;
                }
                let name = match flow.protoinfo {
                    ProtoInfo::Tcp(info) => info.state.name(),
                    ProtoInfo::Sctp(info) => info.state.name(),
                    ProtoInfo::Dccp(info) => info.state.name(),
                    ProtoInfo::None if !has_state => None,
                    _ => return None,
                };
                name.is_some_and(|name| names.iter().any(|known| is_named(name, known)))
            }
            Term::Status(names) => names.iter().any(|name| match *name {
                "unreplied" => status & 2 == 0,
                "expected" => status & 1 != 0,
                "seen-reply" => status & 2 != 0,
                "assured" => status & 4 != 0,
                "confirmed" => status & 8 != 0,
                "src-nat" => status & 16 != 0,
                "DST_NAT" => status & 32 != 0,
                "dying" => status & 512 != 0,
                "31" => status & 1 << 31 != 0,
                _ => unreachable!(),
            }),
            Term::Nat(word) => {
                let (src, dst) = (status & 16 != 0, status & 32 != 0);
                match *word {
                    "src" => src,
                    "dst" => dst,
                    "any" => src || dst,
                    _ => !src && !dst,
                }
            }
            Term::Mark(value, mask) => flow.mark? & mask == *value,
            Term::Label("any") => flow.labels.is_some_and(|labels| !labels.is_empty()),
            Term::Label("none") => flow.labels.is_none_or(|labels| labels.is_empty()),
            Term::LabelBits(value, mask) => flow.labels.map_or(0, |labels| labels.bits()) & mask == *value,
            Term::Label("voip") => flow.labels.is_some_and(|labels| labels.contains(5)),
            Term::Label(number) => flow.labels.is_some_and(|labels| labels.contains(number.parse().unwrap())),
            Term::Helper("any") => flow.helper.is_some(),
            Term::Helper("none") => flow.helper.is_none(),
            Term::Helper(name) => flow.helper.is_some_and(|helper| helper.as_str() == name.trim_matches('"')),
            Term::Secctx("any") => flow.secctx.is_some(),
            Term::Secctx("none") => flow.secctx.is_none(),
            Term::Secctx(name) => flow.secctx.as_deref() == Some(*name),
            Term::TcpFlags(..) if flow.orig.protocol != Protocol::Tcp => false,
            Term::TcpFlags(..) if status & (1 << 14 | 1 << 15) != 0 => return None,
            Term::TcpFlags(field, value, mask) => {
                let ProtoInfo::Tcp(info) = flow.protoinfo else { return None };
                let flags = if *field == "orig-tcp-flags" { info.flags_orig } else { info.flags_reply };
                flags? & mask == *value
            }
            Term::Attribute(number) => flow.unknown.numbers().contains(number),
            Term::Zone(zone) => {
                let each = [flow.zone().orig(), flow.zone().reply()];
                if *zone == 0 { each == [0, 0] } else { each.contains(zone) }
            }
            Term::Compare("idle", op, limit) => return idle(estimator.idle(flow), op, *limit),
            Term::Compare(field, op, limit) => {
                let number = number(flow, estimator, field)?;
                // A missing value is not equal to any number.
                number.map_or(*op == "!=", |number| compare(number, op, *limit))
            }
        })
    }
}

/// Whether a state has a name of an expression. Two states are spelled in two ways.
fn is_named(name: &str, known: &str) -> bool {
    match &*known.to_ascii_lowercase() {
        "close" | "closed" => matches!(name, "CLOSE" | "CLOSED"),
        "time_wait" | "timewait" => matches!(name, "TIME_WAIT" | "TIMEWAIT"),
        known => name.eq_ignore_ascii_case(known),
    }
}

fn compare(number: u64, op: &str, limit: u64) -> bool {
    match op {
        "<" => number < limit,
        "<=" => number <= limit,
        ">" => number > limit,
        ">=" => number >= limit,
        "=" => number == limit,
        _ => number != limit,
    }
}

/// Decided if every possible idle time has the same result.
fn idle(idle: Idle, op: &str, limit: u64) -> Option<bool> {
    let (low, high) = match idle {
        Idle::Exact { at_least, at_most } => (u64::from(at_least), u64::from(at_most)),
        Idle::AtLeast(at_least, _) => (at_least.into(), u64::MAX),
        Idle::Unknown(_) => return None,
    };
    let around = [low, high, limit.saturating_sub(1), limit, limit + 1];
    let possible: Vec<bool> =
        around.into_iter().filter(|n| (low..=high).contains(n)).map(|n| compare(n, op, limit)).collect();
    possible.iter().all(|holds| *holds == possible[0]).then_some(possible[0])
}

/// Undecided, or the number where there is one.
pub fn number(flow: &Flow, estimator: &IdleEstimator, field: &str) -> Option<Option<u64>> {
    let orig = flow.counters_orig;
    match field {
        "timeout" if flow.status.bits() & (1 << 14 | 1 << 15) != 0 => None,
        "timeout" => Some(Some(flow.timeout?.into())),
        "age" => match estimator.age(flow) {
            Age::Known(seconds) => Some(Some(seconds)),
            Age::Unknown(_) => None,
        },
        "packets" => flow.packets().map(Some),
        "bytes" => flow.bytes().map(Some),
        "orig-packets" => orig.map(|counters| Some(counters.packets)),
        "orig-bytes" => orig.map(|counters| Some(counters.bytes)),
        "reply-packets" => flow.counters_reply.map(|counters| Some(counters.packets)),
        "reply-bytes" => flow.counters_reply.map(|counters| Some(counters.bytes)),
        "start" => flow.start.map(|start| Some(start / 1_000_000_000)),
        "orig-zone" => Some(Some(flow.zone().orig().into())),
        "reply-zone" => Some(Some(flow.zone().reply().into())),
        "id" => flow.id.map(|id| Some(id.into())),
        "use" => flow.use_count.map(|count| Some(count.into())),
        "mark" => flow.mark.map(|mark| Some(mark.into())),
        "icmp-type" | "icmp-code" | "icmp-id" => Some(match (flow.orig.l4, field) {
            (L4::Icmp { kind, .. }, "icmp-type") => Some(kind.into()),
            (L4::Icmp { code, .. }, "icmp-code") => Some(code.into()),
            (L4::Icmp { id, .. }, _) => Some(id.into()),
            _ => None,
        }),
        _ => unreachable!("{field}"),
    }
}

fn inside(address: IpAddr, (net, length): (IpAddr, u8)) -> bool {
    let bits = |address: IpAddr| -> Vec<bool> {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
    };
    // An IPv4-mapped network is the IPv4 one.
    let (net, length) = match (net, net.to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(v4)) => (v4.into(), length - 96),
        _ => (net, length),
    };
    address.is_ipv4() == net.is_ipv4() && bits(address)[..length.into()] == bits(net)[..length.into()]
}

fn addresses(flow: &Flow, field: &str) -> Vec<IpAddr> {
    let (orig, reply) = (&flow.orig, &flow.reply);
    let src_nat = flow.status.contains(Status::SrcNat);
    let dst_nat = flow.status.contains(Status::DstNat);
    let only = |given: bool, address| if given { vec![address] } else { Vec::new() };
    match field {
        "master-src" => flow.master.iter().map(|master| master.src).collect(),
        "master-dst" => flow.master.iter().map(|master| master.dst).collect(),
        "src" => vec![orig.src],
        "dst" => vec![orig.dst],
        "addr" => vec![orig.src, orig.dst],
        "reply-src" => vec![reply.src],
        "reply-dst" => vec![reply.dst],
        "any-addr" => vec![orig.src, orig.dst, reply.src, reply.dst],
        "nat-src" => only(src_nat, reply.dst),
        "nat-dst" => only(dst_nat, reply.src),
        "nat-addr" => [only(src_nat, reply.dst), only(dst_nat, reply.src)].concat(),
        _ => unreachable!("{field}"),
    }
}

fn ports(flow: &Flow, field: &str) -> Vec<u16> {
    let of = |l4, gre| match l4 {
        L4::Ports { src, dst } if (flow.orig.protocol == Protocol::Gre) == gre => vec![src, dst],
        _ => vec![],
    };
    let (orig, reply) = (of(flow.orig.l4, false), of(flow.reply.l4, false));
    let (src_nat, dst_nat) = (flow.status.contains(Status::SrcNat), flow.status.contains(Status::DstNat));
    let nth = |ports: &[u16], n: usize| ports.get(n).copied().into_iter().collect::<Vec<_>>();
    match field {
        "sport" => nth(&orig, 0),
        "dport" => nth(&orig, 1),
        "port" => orig,
        "reply-sport" => nth(&reply, 0),
        "reply-dport" => nth(&reply, 1),
        "any-port" => [orig, reply].concat(),
        "gre-key" => of(flow.orig.l4, true),
        "gre-srckey" => nth(&of(flow.orig.l4, true), 0),
        "gre-dstkey" => nth(&of(flow.orig.l4, true), 1),
        "nat-sport" => nth(&if src_nat { reply } else { vec![] }, 1),
        "nat-dport" => nth(&if dst_nat { reply } else { vec![] }, 0),
        "nat-port" => [ports(flow, "nat-sport"), ports(flow, "nat-dport")].concat(),
        _ => unreachable!("{field}"),
    }
}
