//! What `list` shows, `count` counts and a dry run announces is what `flush`
//! deletes, for every term, negated and nested: on a table of the real kernel,
//! against an evaluator of its own.
//!
//! Times tick while a test runs. What they are compared with is chosen so that no
//! entry of the table comes near it for [`GUARD`] seconds.

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
use ctnl_test_support::expressions::{Pools, asks, expressions};
use ctnl_test_support::harness::{Key, World, assert_same_entries, key, tests};
use ctnl_test_support::population::{Population, has_udp_lite};
use ctnl_test_support::reference::{Ast, number};
use ctnl_test_support::summary::{Counted, Summary, read};

tests![
    list_count_dry_run_and_flush_agree_with_a_slow_evaluator,
    the_library_dumps_and_flushes_what_a_slow_evaluator_says,
    what_the_kernel_is_asked_to_leave_out_would_not_have_matched,
];

const ENTRIES: u64 = 1_000;
/// Seconds by which a value may move before an expression means something else.
const GUARD: u64 = 120;

/// A table with everything in it. Entries of the first half are made without
/// counters and start times, the others with.
pub struct Table<'a> {
    world: &'a World,
    pub made: Vec<Flow>,
    filled: Instant,
}

impl<'a> Table<'a> {
    pub fn new(world: &'a World, seed: u64) -> Self {
        let ftp_helper = world.has_ftp_helper();
        let udp_lite = has_udp_lite();
        let population = Population { shortest: 600, ftp_helper, udp_lite, ..Population::new(seed, ENTRIES) };
        let mut made: Vec<Flow> = population.flows().collect();
        made.iter_mut().step_by(17).for_each(|flow| flow.status |= Status::FixedTimeout);
        let table = Table { world, made, filled: Instant::now() };
        table.create_without(&[]);
        table
    }

    /// Makes what is not among the entries that are `left`.
    fn create_without(&self, left: &[Flow]) {
        let left: HashSet<Key> = left.iter().map(key).collect();
        let (plain, counted) = self.made.split_at(self.made.len() / 2);
        for (on, made) in [plain, counted].into_iter().enumerate() {
            for name in ["acct", "timestamp"] {
                self.world.set_sysctl(&format!("netfilter/nf_conntrack_{name}"), on);
            }
            let missing: Vec<Flow> = made.iter().filter(|flow| !left.contains(&key(flow))).cloned().collect();
            self.world.create(&missing);
        }
    }

    /// Of the entries that are `left`, or of all again when few are left or they
    /// have ticked for long: a dump takes some 20 ms, and as much again for every
    /// 100 000 entries of other namespaces, so it is not done needlessly.
    fn go_on(&mut self, left: Vec<Flow>) -> Vec<Flow> {
        let has_ticked = self.filled.elapsed().as_secs() > GUARD / 2;
        if left.len() > self.made.len() / 2 && !has_ticked {
            return left;
        }
        if has_ticked {
            let targets: Vec<Target> = left.iter().map(|flow| Target::of(flow).unwrap()).collect();
            table::delete(&mut self.world.connection(), &targets, &mut Outcome::default()).unwrap();
            self.filled = Instant::now();
        }
        self.create_without(if has_ticked { &[] } else { &left });
        self.world.dump()
    }

    pub fn ages(&self) -> IdleEstimator {
        let kernel = Sysctl::at(Sysctl::KERNEL);
        let basis =
            TimeoutContext::read(&mut self.world.connection(), &Sysctl::at(Sysctl::NETFILTER), &kernel, Vec::new());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        // The entries are made over netlink.
        let context = TimeoutContext { trust_netlink_timeouts: true, ..basis.expect("timeouts") };
        IdleEstimator::new(&context, now.try_into().unwrap())
    }
}

/// What the slow evaluator says of every entry.
struct Truth {
    matched: Vec<Flow>,
    others: Vec<Flow>,
    undecided: u64,
}

impl Truth {
    fn of(ast: &Ast, flows: Vec<Flow>, ages: &IdleEstimator) -> Self {
        let mut undecided = 0;
        let (matched, others) = flows.into_iter().partition(|flow| {
            let holds = ast.holds(flow, ages);
            undecided += u64::from(holds.is_none());
            holds == Some(true)
        });
        Truth { matched, others, undecided }
    }
}

/// What expressions are drawn from: values of the table, and some beside them.
fn pools(flows: &[Flow], ages: &IdleEstimator) -> Pools {
    fn some<T: Ord>(values: impl Iterator<Item = T>, most: usize) -> Vec<T> {
        let values: BTreeSet<T> = values.collect();
        let step = (values.len() / most).max(1);
        values.into_iter().step_by(step).collect()
    }
    let elsewhere: [IpAddr; 2] = ["11.0.0.0".parse().unwrap(), "fe80::1".parse().unwrap()];
    let addresses = flows.iter().flat_map(|flow| [flow.orig.src, flow.orig.dst, flow.reply.src, flow.reply.dst]);
    let ports = flows.iter().flat_map(|flow| [flow.orig, flow.reply]).filter_map(|tuple| tuple.ports());
    let limits: HashMap<&str, Vec<u64>> =
        FIELDS.iter().map(|field| (field.name, limits(field.name, flows, ages))).collect();
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

/// Numbers to compare `field` with: for times, such that no entry comes near.
fn limits(field: &str, flows: &[Flow], ages: &IdleEstimator) -> Vec<u64> {
    let (mut values, candidates): (BTreeSet<u64>, Vec<u64>) = match field {
        "idle" => (flows.iter().flat_map(|flow| bounds(ages.idle(flow))).collect(), STEPS.to_vec()),
        "timeout" | "age" => (numbers(field, flows, ages), STEPS.to_vec()),
        "start" => (numbers(field, flows, ages), [1, ages.now / 1_000_000_000 - 3_600].to_vec()),
        "packets" | "bytes" | "orig-packets" | "reply-packets" | "orig-bytes" | "reply-bytes" => {
            return vec![0, 1, 100];
        }
        "id" | "use" | "mark" | "icmp-type" | "icmp-code" | "icmp-id" | "orig-zone" | "reply-zone" => {
            let values = numbers(field, flows, ages);
            let step = (values.len() / 8).max(1);
            return values.into_iter().step_by(step).chain([0, 200]).collect();
        }
        _ => return vec![0],
    };
    values.insert(u64::MAX);
    let is_quiet =
        |limit: u64| values.range(limit.saturating_sub(GUARD)..=limit.saturating_add(GUARD)).next().is_none();
    candidates
        .into_iter()
        .filter_map(|limit| (limit..limit + 40_000).step_by(20).find(|limit| is_quiet(*limit)))
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

fn numbers(field: &str, flows: &[Flow], ages: &IdleEstimator) -> BTreeSet<u64> {
    flows.iter().filter_map(|flow| number(flow, ages, field).flatten()).collect()
}

/// Every term bare and negated, and `nested` expressions by chance: the same in
/// every run.
pub fn cases(flows: &[Flow], ages: &IdleEstimator, nested: usize) -> (Vec<Ast>, Vec<Ast>) {
    let mut runner = TestRunner::deterministic();
    let asks = asks(&pools(flows, ages));
    let terms = asks.iter().flat_map(|ask| [ask.clone(), ask.clone()]);
    let terms: Vec<Ast> = terms.map(|ask| Ast::Term(ask.new_tree(&mut runner).unwrap().current())).collect();
    let terms = terms.into_iter().enumerate().map(|(place, term)| match place % 2 {
        0 => term,
        _ => Ast::Not(Box::new(term)),
    });
    let terms: Vec<Ast> = terms.collect();
    let strategy = expressions(asks);
    let nested = (0..nested).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    (terms, nested)
}

pub fn parse(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error: ParseError| panic!("{}", error.render()))
}

fn assert_every_field_is_asked_for(terms: &[Ast]) {
    for negated in [false, true] {
        let terms = terms.iter().filter(|ast| matches!(ast, Ast::Not(_)) == negated);
        let asked: BTreeSet<&str> = terms.flat_map(|ast| parse(&ast.text()).fields()).map(|field| field.name).collect();
        let missing: Vec<&str> = FIELDS.iter().map(|field| field.name).filter(|name| !asked.contains(name)).collect();
        assert!(missing.is_empty(), "no term (negated: {negated}) asks for {missing:?}");
    }
}

fn list_count_dry_run_and_flush_agree_with_a_slow_evaluator(world: &World) {
    let mut table = Table::new(world, 31);
    let (mut present, ages) = (world.dump(), table.ages());
    let (terms, nested) = cases(&present, &ages, 20);
    // Of each field one way or the other; the library's test has both.
    let terms = terms.chunks(2).enumerate().map(|(place, pair)| pair[place % 2].clone());
    let (mut some, mut compared) = (0, 0);
    // On older kernels (5.10) a dump itself uses the entry at which a datagram ends.
    let is_of_the_moment = |ast: &Ast| parse(&ast.text()).fields().iter().any(|field| field.id == FieldId::Use);
    for ast in terms.chain(nested).filter(|ast| !is_of_the_moment(ast)) {
        let truth = Truth::of(&ast, present, &table.ages());
        some += usize::from(!truth.matched.is_empty() && !truth.others.is_empty());
        compared += 1;
        assert_verbs_agree(world, &ast.text(), &truth);
        present = world.dump();
        assert_same_entries(&present, &truth.others);
        present = table.go_on(present);
    }
    assert!(compared >= 60 && some * 2 > compared, "{some} of {compared} expressions match some and not all");
}

fn assert_verbs_agree(world: &World, text: &str, truth: &Truth) {
    let expected = truth.matched.len() as u64;
    let listed = world.ctnl(&["list", "--trust-netlink-timeouts", "--json", text]).exits_with(0).stdout();
    let listed: BTreeSet<_> = listed.lines().map(line_identity).collect();
    let matched: BTreeSet<_> = truth.matched.iter().map(flow_identity).collect();
    assert_eq!(listed, matched, "list {text}");

    let counted: Counted =
        read(&world.ctnl(&["count", "--trust-netlink-timeouts", "--json", text]).exits_with(0).stdout());
    assert_eq!((counted.v, counted.unconfirmed), (1, 0), "count {text}");
    assert!(!counted.interrupted && !counted.resized, "count {text}");
    assert_eq!(counted.seen, expected + truth.others.len() as u64, "count {text}");
    assert_eq!((counted.entries, counted.undecided.values().sum()), (expected, truth.undecided), "count {text}");

    let dry: Summary = Summary::read(
        &world
            .ctnl(&["flush", "--all", "--dry-run", "--trust-netlink-timeouts", "--json", text])
            .exits_with(0)
            .stdout(),
    );
    let seen = expected + truth.others.len() as u64;
    assert_eq!((dry.matched, dry.deleted, dry.seen), (expected, expected, seen), "flush --dry-run {text}");
    assert_eq!(dry.in_doubt(), truth.undecided, "flush --dry-run {text}");
    assert_eq!(dry.by_state.iter().map(|share| share.entries).sum::<u64>(), expected, "{text}");
    assert_eq!((dry.table_before, dry.table_after), (seen as u32, seen as u32), "{text}");

    let run = world.ctnl(&["flush", "--all", "--yes", "--trust-netlink-timeouts", "--json", text]).exits_with(0);
    let done = Summary::read(&run.stdout());
    assert_eq!((done.matched, done.deleted, done.seen), (expected, expected, seen), "flush {text}");
    assert_eq!((done.undecided, done.filter), (dry.undecided, dry.filter), "flush {text}");
    assert_eq!(u64::from(done.table_before - done.table_after), expected, "flush {text}");
}

/// What tells entries apart, from a line of JSON and from a flow.
fn line_identity(line: &str) -> (u64, String, String) {
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let address = |side: &str| value["orig"][side].as_str().unwrap().to_owned();
    (value["id"].as_u64().unwrap(), address("src"), address("dst"))
}

fn flow_identity(flow: &Flow) -> (u64, String, String) {
    (flow.id.unwrap().into(), flow.orig.src.to_string(), flow.orig.dst.to_string())
}

fn the_library_dumps_and_flushes_what_a_slow_evaluator_says(world: &World) {
    let mut table = Table::new(world, 32);
    let (mut present, ages) = (world.dump(), table.ages());
    let (terms, nested) = cases(&present, &ages, 260);
    assert_every_field_is_asked_for(&terms);
    assert!(terms.len() + nested.len() >= 300);
    for (place, ast) in terms.iter().chain(&nested).enumerate() {
        let filter = parse(&ast.text());
        let truth = Truth::of(ast, present.clone(), &ages);
        let found: Vec<Flow> = present.iter().filter(|flow| is_meant(&filter, flow, &ages)).cloned().collect();
        assert_same_entries(&found, &truth.matched);
        // An eighth of them is carried out.
        if place % 8 == 0 {
            flush(world, &filter, &ages, truth.matched.len());
            present = world.dump();
            assert_same_entries(&present, &truth.others);
            present = table.go_on(present);
        }
    }
}

pub fn is_meant(filter: &Filter, flow: &Flow, ages: &IdleEstimator) -> bool {
    filter.matches(&Subject::new(flow, ages)) == Verdict::Match
}

fn dumped(world: &World, filter: &Filter, ages: &IdleEstimator, request: DumpRequest) -> Vec<Flow> {
    let mut found = Vec::new();
    let keep = |flow: &Flow| {
        if is_meant(filter, flow, ages) {
            found.push(flow.clone());
        }
        ControlFlow::Continue(())
    };
    table::dump(&mut world.connection(), request, keep).expect("dump");
    found
}

fn flush(world: &World, filter: &Filter, ages: &IdleEstimator, expected: usize) {
    let choose = |flow: &Flow| is_meant(filter, flow, ages).then(|| Target::of(flow).expect("a target"));
    let (dumper, actor) = (&mut world.connection(), world.connection());
    let flush = delete_while_dumping(dumper, actor, filter.dump_request(), Action::Delete, choose, |_| true);
    assert!(flush.error.is_none() && flush.outcome.done == expected as u64, "{filter}: {expected}: {flush:?}");
}

/// The kernel's filters are wrong for IPv6 addresses and for ports of anything
/// but TCP and UDP, and know nothing of one zone for each direction.
fn what_the_kernel_is_asked_to_leave_out_would_not_have_matched(world: &World) {
    let table = Table::new(world, 33);
    let (flows, ages) = (world.dump(), table.ages());
    let mut asked = 0;
    for flow in flows.iter().step_by(80) {
        for text in exact_expressions(flow) {
            let filter = parse(&text);
            asked += usize::from(filter.dump_request() != DumpRequest::default());
            let all: Vec<Flow> = flows.iter().filter(|flow| is_meant(&filter, flow, &ages)).cloned().collect();
            assert!(!all.is_empty(), "{text}");
            assert_same_entries(&dumped(world, &filter, &ages, filter.dump_request()), &all);
        }
    }
    assert!(asked > 100, "{asked} dumps were filtered by the kernel");
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
