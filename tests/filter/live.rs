//! What is proven about whole filters holds for every entry that the kernel can have in its
//! table; and what all of many such entries match is proven to match everything.

use ctnl::field::{FieldId, Subject};
use ctnl::filter::{Filter, Verdict};
use ctnl::model::{DccpInfo, Flow, L4, ProtoInfo, Protocol, SctpState, Status, TcpState, Tuple};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::agreement::asks_of_pools;
use super::slow::Ast;
use super::{flows, parse};

/// A flow as the kernel keeps it in its table: see `Filter::matches_everything`.
pub fn live(mut flow: Flow) -> Flow {
    let never = Status::Dying | Status::Template | Status::Untracked | Status::from_bits_retain(0xffff_0000);
    flow.status = (flow.status | Status::Confirmed) - never;
    flow.status.set(Status::Expected, flow.master.is_some());
    flow.use_count = flow.use_count.map(|count| count.max(1));
    for tuple in [&mut flow.orig, &mut flow.reply] {
        make_icmp_valid(tuple);
    }
    flow.protoinfo = match flow.protoinfo {
        ProtoInfo::Tcp(info) if info.state.name().is_none() => {
            ProtoInfo::Tcp(ctnl::model::TcpInfo { state: TcpState::from(3), ..info })
        }
        ProtoInfo::Sctp(info) if info.state.name().is_none() => {
            ProtoInfo::Sctp(ctnl::model::SctpInfo { state: SctpState(3), ..info })
        }
        ProtoInfo::Dccp(info) if DccpInfo::state_name(info.state).is_none() => {
            ProtoInfo::Dccp(DccpInfo { state: 3, ..info })
        }
        other => other,
    };
    flow
}

/// ICMP over IPv4 and ICMPv6 over IPv6, with types that are tracked.
fn make_icmp_valid(tuple: &mut Tuple) {
    if let L4::Icmp { kind, .. } = &mut tuple.l4 {
        let is_v6 = tuple.src.is_ipv6();
        tuple.protocol = Protocol::from(if is_v6 { 58 } else { 1 });
        *kind = match (is_v6, *kind) {
            (false, 0) => 0,
            (false, 8) => 8,
            (false, _) => 13,
            (true, 128) => 128,
            (true, _) => 129,
        };
    }
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new_with_rng(Config { cases, ..Config::default() }, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_live_entry_is_left_out_by_a_filter_that_matches_everything(
        ast in super::agreement::expressions(),
        flows in prop::collection::vec(flows::flow(), 1..40),
    ) {
        let filter = parse(&ast.text()).unwrap();
        let ages = flows::ages();
        if filter.matches_everything() {
            for flow in flows.into_iter().map(live) {
                prop_assert_ne!(filter.matches(&Subject::new(&flow, &ages)), Verdict::NoMatch, "{}\n{:?}", filter, flow);
            }
        }
    }
}

/// Whether a filter is of a kind for which `Filter::matches_everything` promises no proof: it
/// compares two quantities that depend on each other, or excludes single values.
fn is_of_documented_kind(filter: &Filter) -> bool {
    const RELATED: [&[FieldId]; 5] = [
        &[FieldId::Packets, FieldId::OrigPackets, FieldId::ReplyPackets],
        &[FieldId::Bytes, FieldId::OrigBytes, FieldId::ReplyBytes],
        &[FieldId::Zone, FieldId::OrigZone, FieldId::ReplyZone],
        &[FieldId::Age, FieldId::Start],
        &[FieldId::Idle, FieldId::Timeout],
    ];
    let fields: Vec<FieldId> = filter.fields().iter().map(|field| field.id).collect();
    RELATED.iter().any(|related| related.iter().filter(|id| fields.contains(id)).count() > 1)
}

#[test]
fn what_every_entry_of_a_large_population_matches_is_proven_to_match_everything() {
    let mut runner = runner(1);
    let mut sample = |count: usize| -> Vec<Flow> {
        (0..count).map(|_| live(flows::flow().new_tree(&mut runner).unwrap().current())).collect()
    };
    let population = sample(20_000);
    let ages = flows::ages();
    let mut runner = self::runner(1);
    let term = prop::strategy::Union::new(asks_of_pools());
    let mut next = || {
        let ast = Ast::Term(term.new_tree(&mut runner).unwrap().current());
        if runner.rng().random::<bool>() { ast } else { Ast::Not(Box::new(ast)) }
    };
    let (mut proven, mut unproven) = (0, Vec::new());
    for round in 0..30_000 {
        let parts: Vec<Ast> = (0..1 + round % 3).map(|_| next()).collect();
        let filter = parse(&Ast::Or(parts).text()).unwrap();
        let leaves_out = population.iter().any(|flow| filter.matches(&Subject::new(flow, &ages)) == Verdict::NoMatch);
        match (leaves_out, filter.matches_everything()) {
            (true, everything) => assert!(!everything, "{filter}"),
            (false, true) => proven += 1,
            (false, false) if is_of_documented_kind(&filter) => {}
            (false, false) => unproven.push(filter.to_string()),
        }
    }
    assert!(proven > 100, "{proven}");
    assert!(unproven.is_empty(), "{} of {}:\n{}", unproven.len(), proven, unproven.join("\n"));
}
