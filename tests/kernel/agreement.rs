//! What `list` shows, `count` counts and a dry run announces is what `flush`
//! deletes, for every term, negated and nested: on a table of the real kernel,
//! compared with a reference evaluator.
//!
//! Timeouts, idle times and ages change while a test runs. The values that they are compared with
//! differ by at least [`GUARD`] seconds from those of every entry.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ctnl::age::{Idle, IdleEstimator, TimeoutContext};
use ctnl::field::{FIELDS, FieldId, Subject};
use ctnl::filter::{Filter, ParseError, Verdict};
use ctnl::model::{Flow, Status};
use ctnl::sysctl::Sysctl;
use ctnl::table::{self, Action, DumpRequest, Outcome, Target};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use ctnl_test_support::deleting::delete_while_dumping;
use ctnl_test_support::expressions::{Pools, expressions, term_strategies};
use ctnl_test_support::harness::{Key, TestNetns, assert_same_entries, key, tests};
use ctnl_test_support::population::{Population, has_udp_lite};
use ctnl_test_support::reference::{Ast, number};
use ctnl_test_support::summary::{Counted, Summary, read};

tests![
    list_count_dry_run_and_flush_agree_with_the_reference_evaluator,
    the_library_dumps_and_flushes_what_the_reference_evaluator_matches,
    entries_that_the_kernel_filters_out_would_not_have_matched,
];

const ENTRIES: u64 = 1_000;
/// Seconds by which a value may change without a change of any result.
const GUARD: u64 = 120;

/// Where the start of an entry is known, its idle time is at most its age, or undecided: the verdict about an
/// entry that has been idle for less than this changes while it ages.
const CLOSE_TO_AGE: u32 = 2 * GUARD as u32 + 10;

/// A table with everything in it. Entries of the first half are made without
/// counters and start times, the others with.
pub struct Table<'a> {
    netns: &'a TestNetns,
    pub made: Vec<Flow>,
    filled: Instant,
}

impl<'a> Table<'a> {
    pub fn new(netns: &'a TestNetns, seed: u64) -> Self {
        let ftp_helper = netns.has_ftp_helper();
        let udp_lite = has_udp_lite();
        let population = Population { shortest: 600, ftp_helper, udp_lite, ..Population::new(seed, ENTRIES) };
        let mut made: Vec<Flow> = population.flows().collect();
        made.iter_mut().step_by(17).for_each(|flow| flow.status |= Status::FixedTimeout);
        let mut table = Table { netns, made, filled: Instant::now() };
        let estimator = table.estimator();
        let changes_with_age = |flow: &Flow| estimator.idle(flow).at_least().is_some_and(|idle| idle < CLOSE_TO_AGE);
        let half = table.made.len() / 2;
        let counted: Vec<Flow> = table.made.split_off(half);
        table.made.extend(counted.into_iter().filter(|flow| !changes_with_age(flow)).take(half));
        table.create_missing(&[]);
        table
    }

    /// Creates the entries that are not among those that are `left`.
    fn create_missing(&self, left: &[Flow]) {
        let left: HashSet<Key> = left.iter().map(key).collect();
        let (plain, counted) = self.made.split_at(self.made.len().min(ENTRIES as usize / 2));
        for (on, made) in [plain, counted].into_iter().enumerate() {
            for name in ["acct", "timestamp"] {
                self.netns.set_sysctl(&format!("netfilter/nf_conntrack_{name}"), on);
            }
            let missing: Vec<Flow> = made.iter().filter(|flow| !left.contains(&key(flow))).cloned().collect();
            self.netns.create(&missing);
        }
    }

    /// Creates the missing entries when few are `left`, and all of them anew when they are old.
    /// Returns the entries of the table. (A dump takes some 20 ms, and as much again for every
    /// 100 000 entries of other namespaces, so it is avoided.)
    fn refill(&mut self, left: Vec<Flow>) -> Vec<Flow> {
        let has_ticked = self.filled.elapsed().as_secs() > GUARD / 2;
        if left.len() > self.made.len() / 2 && !has_ticked {
            return left;
        }
        if has_ticked {
            let targets: Vec<Target> = left.iter().map(|flow| Target::of(flow).unwrap()).collect();
            table::delete(&mut self.netns.connection(), &targets, &mut Outcome::default()).unwrap();
            self.filled = Instant::now();
        }
        self.create_missing(if has_ticked { &[] } else { &left });
        self.netns.dump()
    }

    pub fn estimator(&self) -> IdleEstimator {
        let kernel = Sysctl::at(Sysctl::KERNEL);
        let timeout_context =
            TimeoutContext::read(&mut self.netns.connection(), &Sysctl::at(Sysctl::NETFILTER), &kernel, Vec::new());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        // The entries are made over netlink.
        let context = TimeoutContext { trust_netlink_timeouts: true, ..timeout_context.expect("timeouts") };
        IdleEstimator::new(&context, now.try_into().unwrap())
    }
}

/// The reference evaluator's results for all entries.
struct ReferenceResult {
    matched: Vec<Flow>,
    others: Vec<Flow>,
    undecided: u64,
}

impl ReferenceResult {
    fn of(ast: &Ast, flows: Vec<Flow>, estimator: &IdleEstimator) -> Self {
        let mut undecided = 0;
        let (matched, others) = flows.into_iter().partition(|flow| {
            let holds = ast.evaluate(flow, estimator);
            undecided += u64::from(holds.is_none());
            holds == Some(true)
        });
        ReferenceResult { matched, others, undecided }
    }
}

/// The values in expressions: some of the table, and some others.
fn pools(flows: &[Flow], estimator: &IdleEstimator) -> Pools {
    fn some<T: Ord>(values: impl Iterator<Item = T>, most: usize) -> Vec<T> {
        let values: BTreeSet<T> = values.collect();
        let step = (values.len() / most).max(1);
        values.into_iter().step_by(step).collect()
    }
    let elsewhere: [IpAddr; 2] = ["11.0.0.0".parse().unwrap(), "fe80::1".parse().unwrap()];
    let addresses = flows.iter().flat_map(|flow| [flow.orig.src, flow.orig.dst, flow.reply.src, flow.reply.dst]);
    let ports = flows.iter().flat_map(|flow| [flow.orig, flow.reply]).filter_map(|tuple| tuple.ports());
    let limits: HashMap<&str, Vec<u64>> =
        FIELDS.iter().map(|field| (field.name, limits(field.name, flows, estimator))).collect();
    Pools {
        addresses: some(addresses, 40).into_iter().chain(elsewhere).collect(),
        ports: some(ports.flat_map(|(src, dst)| [src, dst]).chain([0, 53, 80, 443, u16::MAX]), 30),
        protocols: vec![1, 6, 17, 33, 47, 50, 58, 132, 136, 253],
        zones: vec![0, 1, 2, 5, 101, 103, 9],
        marks: vec![0, 1, 2, 0x10, 0x1_0000, 0xdead_beef, u32::MAX],
        label: "3",
        limits: Box::new(move |field| limits[field].clone()),
    }
}

/// Numbers to compare `field` with; for times, they differ by [`GUARD`] from those of every entry.
fn limits(field: &str, flows: &[Flow], estimator: &IdleEstimator) -> Vec<u64> {
    let (mut values, candidates): (BTreeSet<u64>, Vec<u64>) = match field {
        "idle" => (flows.iter().flat_map(|flow| bounds(estimator.idle(flow))).collect(), STEPS.to_vec()),
        "timeout" | "age" => (numbers(field, flows, estimator), STEPS.to_vec()),
        "start" => (numbers(field, flows, estimator), [1, estimator.now / 1_000_000_000 - 3_600].to_vec()),
        "packets" | "bytes" | "orig-packets" | "reply-packets" | "orig-bytes" | "reply-bytes" => {
            return vec![0, 1, 100];
        }
        "id" | "use" | "mark" | "icmp-type" | "icmp-code" | "icmp-id" | "orig-zone" | "reply-zone" => {
            let values = numbers(field, flows, estimator);
            let step = (values.len() / 8).max(1);
            return values.into_iter().step_by(step).chain([0, 200]).collect();
        }
        _ => return vec![0],
    };
    values.insert(u64::MAX);
    let is_far_from_values =
        |limit: u64| values.range(limit.saturating_sub(GUARD)..=limit.saturating_add(GUARD)).next().is_none();
    candidates
        .into_iter()
        .filter_map(|limit| (limit..limit + 40_000).step_by(20).find(|limit| is_far_from_values(*limit)))
        .collect()
}

const STEPS: [u64; 10] = [0, 30, 120, 300, 3_600, 10_000, 43_200, 100_000, 300_000, 500_000];

fn bounds(idle: Idle) -> impl Iterator<Item = u64> {
    let (low, high) = match idle {
        Idle::Exact { at_least, at_most } => (Some(at_least), Some(at_most)),
        Idle::AtLeast(at_least, _) => (Some(at_least), None),
        Idle::Unknown(_) => (None, None),
    };
    low.into_iter().chain(high).map(u64::from)
}

fn numbers(field: &str, flows: &[Flow], estimator: &IdleEstimator) -> BTreeSet<u64> {
    flows.iter().filter_map(|flow| number(flow, estimator, field).flatten()).collect()
}

/// Every term plain and negated, and `nested` random expressions; the same in every run.
pub fn cases(flows: &[Flow], estimator: &IdleEstimator, nested: usize) -> (Vec<Ast>, Vec<Ast>) {
    let mut runner = TestRunner::deterministic();
    let term_strategies = term_strategies(&pools(flows, estimator));
    let terms = term_strategies.iter().flat_map(|term| [term.clone(), term.clone()]);
    let terms: Vec<Ast> = terms.map(|term| Ast::Term(term.new_tree(&mut runner).unwrap().current())).collect();
    let terms = terms.into_iter().enumerate().map(|(place, term)| match place % 2 {
        0 => term,
        _ => Ast::Not(Box::new(term)),
    });
    let terms: Vec<Ast> = terms.collect();
    let strategy = expressions(term_strategies);
    let nested = (0..nested).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    (terms, nested)
}

pub fn parse(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error: ParseError| panic!("{}", error.render()))
}

fn assert_every_field_occurs(terms: &[Ast]) {
    for negated in [false, true] {
        let terms = terms.iter().filter(|ast| matches!(ast, Ast::Not(_)) == negated);
        let used: BTreeSet<&str> = terms.flat_map(|ast| parse(&ast.text()).fields()).map(|field| field.name).collect();
        let missing: Vec<&str> = FIELDS.iter().map(|field| field.name).filter(|name| !used.contains(name)).collect();
        assert!(missing.is_empty(), "no term (negated: {negated}) with {missing:?}");
    }
}

fn list_count_dry_run_and_flush_agree_with_the_reference_evaluator(netns: &TestNetns) {
    let mut table = Table::new(netns, 31);
    let (mut present, estimator) = (netns.dump(), table.estimator());
    let (terms, nested) = cases(&present, &estimator, 20);
    // Every other term, plain or negated: each takes four runs of the program. The library's test has all of both.
    let terms = terms.chunks(2).step_by(2).enumerate().map(|(place, pair)| pair[place % 2].clone());
    let (mut some, mut compared) = (0, 0);
    // On older kernels (5.10) a dump itself uses the entry at which a datagram ends.
    let has_use_count = |ast: &Ast| parse(&ast.text()).fields().iter().any(|field| field.id == FieldId::Use);
    for ast in terms.chain(nested).filter(|ast| !has_use_count(ast)) {
        let reference = ReferenceResult::of(&ast, present, &table.estimator());
        some += usize::from(!reference.matched.is_empty() && !reference.others.is_empty());
        compared += 1;
        assert_verbs_agree(netns, &ast.text(), &reference);
        present = netns.dump();
        assert_same_entries(&present, &reference.others);
        present = table.refill(present);
    }
    assert!(compared >= 40 && some * 2 > compared, "{some} of {compared} expressions match some and not all");
}

fn assert_verbs_agree(netns: &TestNetns, text: &str, reference: &ReferenceResult) {
    let expected = reference.matched.len() as u64;
    let listed = netns.ctnl(&["list", "--trust-netlink-timeouts", "--json", text]).exits_with(0).stdout();
    let listed: BTreeSet<_> = listed.lines().map(line_identity).collect();
    let matched: BTreeSet<_> = reference.matched.iter().map(flow_identity).collect();
    assert_eq!(listed, matched, "list {text}");

    let counted: Counted =
        read(&netns.ctnl(&["count", "--trust-netlink-timeouts", "--json", text]).exits_with(0).stdout());
    assert_eq!((counted.v, counted.unconfirmed), (1, 0), "count {text}");
    assert!(!counted.interrupted && !counted.resized, "count {text}");
    assert_eq!(counted.seen, expected + reference.others.len() as u64, "count {text}");
    assert_eq!((counted.entries, counted.undecided.values().sum()), (expected, reference.undecided), "count {text}");

    let dry: Summary = Summary::read(
        &netns
            .ctnl(&["flush", "--all", "--dry-run", "--trust-netlink-timeouts", "--json", text])
            .exits_with(0)
            .stdout(),
    );
    let seen = expected + reference.others.len() as u64;
    assert_eq!((dry.matched, dry.deleted, dry.seen), (expected, expected, seen), "flush --dry-run {text}");
    assert_eq!(dry.undecided_total(), reference.undecided, "flush --dry-run {text}");
    assert_eq!(dry.by_state.iter().map(|share| share.entries).sum::<u64>(), expected, "{text}");
    assert_eq!((dry.table_before, dry.table_after), (seen as u32, seen as u32), "{text}");

    let run = netns.ctnl(&["flush", "--all", "--yes", "--trust-netlink-timeouts", "--json", text]).exits_with(0);
    let done = Summary::read(&run.stdout());
    assert_eq!((done.matched, done.deleted, done.seen), (expected, expected, seen), "flush {text}");
    assert_eq!((done.undecided, done.filter), (dry.undecided, dry.filter), "flush {text}");
    assert_eq!(u64::from(done.table_before - done.table_after), expected, "flush {text}");
}

/// The identity of an entry, from a line of JSON and from a flow.
fn line_identity(line: &str) -> (u64, String, String) {
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let address = |side: &str| value["orig"][side].as_str().unwrap().to_owned();
    (value["id"].as_u64().unwrap(), address("src"), address("dst"))
}

fn flow_identity(flow: &Flow) -> (u64, String, String) {
    (flow.id.unwrap().into(), flow.orig.src.to_string(), flow.orig.dst.to_string())
}

fn the_library_dumps_and_flushes_what_the_reference_evaluator_matches(netns: &TestNetns) {
    let mut table = Table::new(netns, 32);
    let (mut present, estimator) = (netns.dump(), table.estimator());
    let (terms, nested) = cases(&present, &estimator, 260);
    assert_every_field_occurs(&terms);
    assert!(terms.len() + nested.len() >= 300);
    for (place, ast) in terms.iter().chain(&nested).enumerate() {
        let filter = parse(&ast.text());
        let reference = ReferenceResult::of(ast, present.clone(), &estimator);
        let found: Vec<Flow> = present.iter().filter(|flow| is_match(&filter, flow, &estimator)).cloned().collect();
        assert_same_entries(&found, &reference.matched);
        // An eighth of the filters also flushes.
        if place % 8 == 0 {
            flush(netns, &filter, &estimator, reference.matched.len());
            present = netns.dump();
            assert_same_entries(&present, &reference.others);
            present = table.refill(present);
        }
    }
}

pub fn is_match(filter: &Filter, flow: &Flow, estimator: &IdleEstimator) -> bool {
    filter.matches(&Subject::new(flow, estimator)) == Verdict::Match
}

fn dumped(netns: &TestNetns, filter: &Filter, estimator: &IdleEstimator, request: DumpRequest) -> Vec<Flow> {
    let mut found = Vec::new();
    let keep = |flow: &Flow| {
        if is_match(filter, flow, estimator) {
            found.push(flow.clone());
        }
        ControlFlow::Continue(())
    };
    table::dump(&mut netns.connection(), request, keep).expect("dump");
    found
}

fn flush(netns: &TestNetns, filter: &Filter, estimator: &IdleEstimator, expected: usize) {
    let choose = |flow: &Flow| is_match(filter, flow, estimator).then(|| Target::of(flow).expect("a target"));
    let (dumper, actor) = (&mut netns.connection(), netns.connection());
    let flush = delete_while_dumping(dumper, actor, filter.dump_request(), Action::Delete, choose, |_| true);
    assert!(flush.error.is_none() && flush.outcome.done == expected as u64, "{filter}: {expected}: {flush:?}");
}

/// The kernel's filters are wrong for IPv6 addresses and for ports of anything
/// but TCP and UDP, and know nothing of one zone for each direction.
fn entries_that_the_kernel_filters_out_would_not_have_matched(netns: &TestNetns) {
    let table = Table::new(netns, 33);
    let (flows, estimator) = (netns.dump(), table.estimator());
    let mut used = 0;
    for flow in flows.iter().step_by(80) {
        for text in exact_expressions(flow) {
            let filter = parse(&text);
            used += usize::from(filter.dump_request() != DumpRequest::default());
            let all: Vec<Flow> = flows.iter().filter(|flow| is_match(&filter, flow, &estimator)).cloned().collect();
            assert!(!all.is_empty(), "{text}");
            assert_same_entries(&dumped(netns, &filter, &estimator, filter.dump_request()), &all);
        }
    }
    assert!(used > 100, "{used} dumps were filtered by the kernel");
}

/// Expressions of exact values, all of which mean `flow` among others.
fn exact_expressions(flow: &Flow) -> Vec<String> {
    let tuple = &flow.orig;
    let protocol = format!("proto {}", u8::from(tuple.protocol));
    let (src, dst, mark) = (tuple.src, tuple.dst, flow.mark.unwrap());
    let mut texts = vec![
        format!("src {src}"),
        format!("dst {dst} and {protocol}"),
        format!("{protocol} and src {src} and dst {dst}"),
        format!("mark {mark}"),
        format!("mark {:#x}/0xf0 and {protocol}", mark & 0xf0),
        format!("zone {}", flow.zone().orig()),
        format!("zone {} and {protocol}", flow.zone().reply()),
        format!("family {} and {protocol}", if src.is_ipv4() { "ipv4" } else { "ipv6" }),
    ];
    for (bit, name) in [(Status::Assured, "assured"), (Status::SrcNat, "src-nat"), (Status::SeenReply, "seen-reply")] {
        texts.push(format!("{}{name} and {protocol}", if flow.status.contains(bit) { "" } else { "not " }));
    }
    if let Some((sport, dport)) = tuple.ports().filter(|_| tuple.sport().is_some()) {
        texts.push(format!("sport {sport} and dport {dport}"));
        texts.push(format!("{protocol} and dport {dport}"));
        texts.push(format!("dport {dport} and dst {dst} and not expected"));
    }
    texts
}
