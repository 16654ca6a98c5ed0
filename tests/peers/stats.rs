//! The counters are those of `conntrack -S`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use ctnl_test_support::connections::Udp;
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::{Net, conntrack, nft};

use crate::events::{RULES, make_events};

tests![
    the_counters_of_each_processor_are_those_of_conntrack,
    the_rate_of_an_interval_is_what_was_counted_in_it,
    the_counters_of_entries_are_shown_once_and_reset_by_zero,
];

/// Counters by processor.
type ByCpu = BTreeMap<u64, BTreeMap<String, u64>>;

/// Reads `cpu=0 found=1 …`.
fn of_conntrack() -> ByCpu {
    let text = conntrack(&["-S"]);
    let line = |line: &str| {
        let mut pairs = line.split_whitespace().map(|word| {
            let (name, value) = word.split_once('=').expect("a counter");
            (name.to_owned(), value.parse().expect("a number"))
        });
        let (_, cpu): (String, u64) = pairs.next().expect("a processor");
        (cpu, pairs.collect())
    };
    text.lines().map(line).collect()
}

fn stats(netns: &TestNetns, arguments: &[&str]) -> Value {
    let run = netns.ctnl(&[&["stats", "--json"], arguments].concat()).exits_with(0);
    serde_json::from_str(run.stdout().lines().last().expect("a line")).expect("an object")
}

fn of_ctnl(netns: &TestNetns) -> ByCpu {
    let counters = |cpu: &Value| {
        let counters = cpu["counters"].as_object().expect("counters");
        counters.iter().map(|(name, value)| (name.clone(), value.as_u64().expect("a number"))).collect()
    };
    let object = stats(netns, &["--per-cpu"]);
    let cpus = object["cpus"].as_array().expect("processors");
    cpus.iter().map(|cpu| (cpu["cpu"].as_u64().expect("a number"), counters(cpu))).collect()
}

fn the_counters_of_each_processor_are_those_of_conntrack(netns: &TestNetns) {
    let net = Net::new(netns);
    nft(RULES);
    make_events(netns, &net);
    netns.fill(3, 1000);
    let (ours, theirs) = (of_ctnl(netns), of_conntrack());
    let insert: u64 = ours.values().map(|counters| counters["insert"]).sum();
    assert!(insert >= 1000, "{ours:?}");
    assert_eq!(ours, theirs);
    let total = stats(netns, &[]);
    assert_eq!(total["counters"]["insert"], insert);
    assert_eq!(total["entries"].as_u64(), conntrack(&["-C"]).trim().parse().ok());
}

fn the_rate_of_an_interval_is_what_was_counted_in_it(netns: &TestNetns) {
    netns.fill(1, 100);
    let mut command = netns.ctnl_command(&["stats", "--json", "--watch", "3s", "--times", "2"]);
    let mut watch = command.stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut next =
        || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("an object") };
    // An interval begins where the one before is printed.
    let before = next();
    netns.fill(2, 3000);
    let object = next();
    let inserted = |object: &Value| object["counters"]["insert"].as_f64().expect("a number");
    let per_second = object["per_second"]["insert"].as_f64().expect("a number");
    let counted = per_second * object["seconds"].as_f64().expect("a number");
    // On a slow machine some are made only after the interval.
    assert!(counted > 0.0 && (counted - (inserted(&object) - inserted(&before))).abs() < 1.0, "{before} {object}");
    assert_eq!(watch.wait().expect("its end").code(), Some(0));
}

fn the_counters_of_entries_are_shown_once_and_reset_by_zero(netns: &TestNetns) {
    let net = Net::new(netns);
    let udp = Udp::open(&net);
    (0..3).for_each(|_| udp.exchange());
    let port = udp.tuple().sport().expect("a port").to_string();
    let packets = |arguments: &[&str]| {
        let stdout = netns.ctnl(&[&["list", "-o", "json"], arguments].concat()).exits_with(0).stdout();
        let line = stdout.lines().find(|line| line.contains(&port)).expect("the flow").to_owned();
        let object: Value = serde_json::from_str(&line).expect("an object");
        object["packets"].as_u64().or(object["orig"]["packets"].as_u64()).unwrap_or_else(|| panic!("{object}"))
    };
    let before = packets(&[]);
    assert!(before >= 3, "{before}");
    // Without consent nothing is reset.
    netns.ctnl(&["list", "--zero"]).exits_with(2);
    netns.ctnl(&["list", "--zero", "--yes", "udp"]).exits_with(2);
    assert_eq!(packets(&["--zero", "--yes"]), before);
    assert_eq!(packets(&[]), 0);
}
