//! What is proven about whole filters holds for every entry that the kernel can have in its
//! table; and what all of many such entries match is proven to match everything.

use ctnl::field::{Field, FieldId, Subject, ValueKind};
use ctnl::filter::{Filter, Verdict};
use ctnl::model::{DccpInfo, Flow, L4, ProtoInfo, Protocol, SctpState, Status, TcpState, Tuple};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::agreement::term_strategies_of_pools;
use super::parse;
use ctnl_test_support::flows;
use ctnl_test_support::reference::Ast;

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
            ProtoInfo::Sctp(ctnl::model::SctpInfo { state: SctpState::from(3), ..info })
        }
        ProtoInfo::Dccp(info) if info.state.name().is_none() => ProtoInfo::Dccp(DccpInfo { state: 3.into(), ..info }),
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

#[test]
fn the_kernels_guarantees_hold_for_recorded_dumps() {
    use ctnl::wire::{MessageClass, Messages};
    let recorded: [&[u8]; 3] = [
        include_bytes!("../data/traffic.bin"),
        include_bytes!("../data/created.bin"),
        include_bytes!("../data/dump-6.18.bin"),
    ];
    let (estimator, mut count) = (flows::estimator(), 0);
    let filters: Vec<Filter> = super::proofs::OF_LIVE_ENTRIES.iter().map(|text| parse(text).unwrap()).collect();
    for message in recorded.into_iter().flat_map(Messages::new).map_while(Result::ok) {
        let Ok(MessageClass::Data) = message.classify() else { continue };
        let Ok(flow) = Flow::decode(&message) else { continue };
        count += 1;
        for filter in &filters {
            assert_ne!(filter.matches(&Subject::new(&flow, &estimator)), Verdict::NoMatch, "{filter}\n{flow:?}");
        }
    }
    assert!(count > 80, "{count}");
}

fn runner() -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_proven_to_match_everything_matches_every_live_entry(
        ast in super::agreement::expressions(),
        flows in prop::collection::vec(flows::flow(), 1..40),
    ) {
        let filter = parse(&ast.text()).unwrap();
        let estimator = flows::estimator();
        if filter.matches_everything() {
            for flow in flows.into_iter().map(live) {
                prop_assert_ne!(filter.matches(&Subject::new(&flow, &estimator)), Verdict::NoMatch, "{}\n{:?}", filter, flow);
            }
        }
    }
}

/// Whether the sample says nothing about a filter: its terms are about the same value, and no
/// entry of the sample has one between them (`idle <= 6s or not idle <= 7s`); or the quantities
/// depend on each other, for which `Filter::matches_everything` promises no proof.
fn is_beyond_the_sample(filter: &Filter) -> bool {
    const RELATED: [&[FieldId]; 7] = [
        // What is translated is there.
        &[FieldId::NatSport, FieldId::NatDport, FieldId::NatPort, FieldId::ReplySport, FieldId::ReplyDport],
        &[FieldId::Protocol, FieldId::GreKey, FieldId::GreSrcKey, FieldId::GreDstKey],
        &[FieldId::IcmpType, FieldId::IcmpCode, FieldId::IcmpId],
        &[FieldId::Packets, FieldId::OrigPackets, FieldId::ReplyPackets],
        &[FieldId::Bytes, FieldId::OrigBytes, FieldId::ReplyBytes],
        &[FieldId::Zone, FieldId::OrigZone, FieldId::ReplyZone],
        &[FieldId::Age, FieldId::Start],
    ];
    let fields = filter.fields();
    let parts = |field: &Field| match field.parts {
        [] => vec![field.id],
        parts => parts.iter().map(|(part, _)| *part).collect(),
    };
    let [one, other] = *fields else {
        return !matches!(fields[0].kind, ValueKind::Status | ValueKind::Nat | ValueKind::Protocol | ValueKind::State);
    };
    let is_related = |ids: &&[FieldId]| ids.contains(&one.id) && ids.contains(&other.id);
    let shares_parts = parts(one).iter().any(|part| parts(other).contains(part));
    shares_parts || RELATED.iter().any(is_related) || [one.id, other.id].contains(&FieldId::Idle)
}

/// Terms of which each leaves out at least a twentieth of the population, and its negation as
/// well: a value that no entry has by chance is no spelling of everything.
fn discerning_terms(population: &[Flow], count: usize) -> Vec<Ast> {
    let (mut runner, estimator) = (runner(), flows::estimator());
    let strategy = prop::strategy::Union::new(term_strategies_of_pools());
    let mut terms = Vec::new();
    while terms.len() < count {
        let term = Ast::Term(strategy.new_tree(&mut runner).unwrap().current());
        let filter = parse(&term.text()).unwrap();
        let verdicts = population.iter().map(|flow| filter.matches(&Subject::new(flow, &estimator)));
        let (matching, other): (Vec<_>, Vec<_>) = verdicts.partition(|verdict| verdict.is_match());
        let left_out = other.iter().filter(|verdict| **verdict == Verdict::NoMatch).count();
        if matching.len().min(left_out) * 20 >= population.len() {
            terms.extend([term.clone(), Ast::Not(Box::new(term))]);
        }
    }
    terms
}

#[test]
fn a_filter_that_every_entry_of_a_large_sample_matches_is_proven() {
    let mut runner = runner();
    let mut sample = || live(flows::flow().new_tree(&mut runner).unwrap().current());
    let population: Vec<Flow> = (0..5_000).map(|_| sample()).collect();
    let terms = discerning_terms(&population[..1_000], 160);
    let estimator = flows::estimator();
    let (mut proven, mut unproven) = (0, Vec::new());
    for (place, one) in terms.iter().enumerate() {
        for other in &terms[..place] {
            let filter = parse(&Ast::Or(vec![one.clone(), other.clone()]).text()).unwrap();
            let left_out =
                population.iter().find(|flow| filter.matches(&Subject::new(flow, &estimator)) == Verdict::NoMatch);
            match (left_out, filter.matches_everything()) {
                (Some(flow), everything) => assert!(!everything, "{filter}\n{flow:?}"),
                (None, true) => proven += 1,
                (None, false) if is_beyond_the_sample(&filter) => {}
                (None, false) => unproven.push(filter.to_string()),
            }
        }
    }
    assert!(proven > 100, "{proven}");
    assert!(unproven.is_empty(), "{} beside {}:\n{}", unproven.len(), proven, unproven.join("\n"));
}
