//! Random expressions, for the evaluator in `reference`.
//!
//! Every field of the registry has a strategy. Values come from [`Pools`], so that terms match some
//! flows of a table and not others.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

use super::reference::{Ast, Term};

/// Numbers to compare a field with, by its name.
pub type Limits = Box<dyn Fn(&str) -> Vec<u64>>;

/// What terms term for.
pub struct Pools {
    pub addresses: Vec<IpAddr>,
    pub ports: Vec<u16>,
    pub protocols: Vec<u8>,
    pub zones: Vec<u16>,
    pub marks: Vec<u32>,
    pub label: &'static str,
    /// Numbers to compare a field of that name with.
    pub limits: Limits,
}

const ADDRESSES: [&str; 11] = [
    "src",
    "dst",
    "addr",
    "reply-src",
    "reply-dst",
    "any-addr",
    "nat-src",
    "nat-dst",
    "nat-addr",
    "master-src",
    "master-dst",
];
const PORTS: [&str; 12] = [
    "sport",
    "dport",
    "port",
    "reply-sport",
    "reply-dport",
    "any-port",
    "nat-port",
    "nat-sport",
    "nat-dport",
    "gre-key",
    "gre-srckey",
    "gre-dstkey",
];
const NUMBERS: [&str; 17] = [
    "timeout",
    "age",
    "start",
    "packets",
    "bytes",
    "orig-packets",
    "reply-packets",
    "orig-bytes",
    "reply-bytes",
    "id",
    "use",
    "mark",
    "icmp-type",
    "icmp-code",
    "icmp-id",
    "orig-zone",
    "reply-zone",
];
/// Idle time weighs more than other numbers: what users term for is stale.
const IDLE: [&str; 3] = ["idle"; 3];

/// A strategy for the terms of each field.
pub fn term_strategies(pools: &Pools) -> Vec<BoxedStrategy<Term>> {
    let mut term_strategies: Vec<BoxedStrategy<Term>> = fixed(pools);
    let net = net(&pools.addresses);
    term_strategies
        .extend(ADDRESSES.map(|field| vec(net.clone(), 1..4).prop_map(move |nets| Term::Address(field, nets)).boxed()));
    let ports = pools.ports.clone();
    let range = (select(ports.clone()), select(ports)).prop_map(|(a, b)| (a.min(b), a.max(b)));
    term_strategies
        .extend(PORTS.map(|field| vec(range.clone(), 1..4).prop_map(move |ranges| Term::Port(field, ranges)).boxed()));
    term_strategies.extend(NUMBERS.iter().chain(&IDLE).map(|field| {
        let limits = select((pools.limits)(field));
        let relation = select(vec!["<", "<=", ">", ">=", "=", "!="]);
        (relation, limits).prop_map(move |(relation, limit)| Term::Compare(field, relation, limit)).boxed()
    }));
    term_strategies
}

fn fixed(pools: &Pools) -> Vec<BoxedStrategy<Term>> {
    let label = pools.label;
    let mark = (select(pools.marks.clone()), select(vec![0u32, 1, 0xf0, 0xff, u32::MAX]));
    let flags = || (select(vec![0u8, 0x10, 0x20, 0x28, 0xff]), select(vec![0u8, 0x10, 0xff]));
    let states = vec!["established", "Time_Wait", "CLOSED", "none", "close", "timewait", "syn_sent"];
    let label_masks = vec![0u128, 1, 1 << 5, 0x2f, 1 << 127 | 1 << 64, u128::MAX];
    let label_bits = (select(vec![0u128, 1, 1 << 5, 0x21, 1 << 127 | 1 << 5, u128::MAX]), select(label_masks));
    let bits = vec!["unreplied", "expected", "seen-reply", "assured", "confirmed", "src-nat", "DST_NAT", "dying", "31"];
    let words = vec!["ipv6", "tcp", "udp", "icmp", "proto gre", "unreplied", "assured", "src-nat"];
    vec![
        select(vec!["ipv4", "family ipv6"]).prop_map(Term::Keyword).boxed(),
        select(words).prop_map(Term::Keyword).boxed(),
        vec(select(pools.protocols.clone()), 1..4).prop_map(Term::Proto).boxed(),
        vec(select(states), 1..3).prop_map(Term::State).boxed(),
        vec(select(bits), 1..3).prop_map(Term::Status).boxed(),
        select(vec!["src", "dst", "any", "none"]).prop_map(Term::Nat).boxed(),
        mark.prop_map(|(value, mask)| Term::Mark(value & mask, mask)).boxed(),
        select(vec!["any", "none", label, "0", "127", "9"]).prop_map(Term::Label).boxed(),
        label_bits.prop_map(|(value, mask)| Term::LabelBits(value & mask, mask)).boxed(),
        select(vec!["any", "none", "ftp", "\"any\"", "x"]).prop_map(Term::Helper).boxed(),
        select(vec!["any", "none", "y"]).prop_map(Term::Secctx).boxed(),
        select(vec![0u16, 28, 30]).prop_map(Term::Attribute).boxed(),
        select(pools.zones.clone()).prop_map(Term::Zone).boxed(),
        flags().prop_map(|(value, mask)| Term::TcpFlags("orig-tcp-flags", value & mask, mask)).boxed(),
        flags().prop_map(|(value, mask)| Term::TcpFlags("reply-tcp-flags", value & mask, mask)).boxed(),
    ]
}

fn net(addresses: &[IpAddr]) -> impl Strategy<Value = (IpAddr, u8)> + Clone + use<> {
    (select(addresses.to_vec()), any::<u8>()).prop_map(|(address, length)| {
        let (least, longest) = match (address, address.to_canonical()) {
            (IpAddr::V4(_), _) => (0, 32),
            (IpAddr::V6(_), IpAddr::V6(_)) => (0, 128),
            // A shorter prefix of an IPv4-mapped address is refused.
            (IpAddr::V6(_), IpAddr::V4(_)) => (96, 128),
        };
        (address, least + length % (longest - least + 1))
    })
}

/// Terms in brackets, with `and`, `or` and `not`.
pub fn expressions(term_strategies: Vec<BoxedStrategy<Term>>) -> impl Strategy<Value = Ast> {
    Union::new(term_strategies).prop_map(Ast::Term).prop_recursive(4, 24, 4, |part| {
        prop_oneof![
            vec(part.clone(), 1..4).prop_map(Ast::And),
            vec(part.clone(), 1..4).prop_map(Ast::Or),
            part.prop_map(|part| Ast::Not(Box::new(part))),
        ]
    })
}
