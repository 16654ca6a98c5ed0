//! `ctnl stats`.

use serde_json::Value;

use ctnl_test_support::harness::{TestNetns, tests};

tests![entries_made_over_netlink_are_counted_as_inserts, a_watch_whose_reader_is_gone_ends,];

fn entries_made_over_netlink_are_counted_as_inserts(netns: &TestNetns) {
    netns.fill(1, 300);
    let stdout = netns.ctnl(&["stats", "--json", "--per-cpu"]).exits_with(0).stdout();
    let object: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&object["entries"], &object["counters"]["insert"]), (&300.into(), &300.into()), "{object}");
    let of_cpus = object["cpus"].as_array().unwrap().iter().map(|cpu| cpu["counters"]["insert"].as_u64().unwrap());
    assert_eq!(of_cpus.sum::<u64>(), 300, "{object}");
    let text = netns.ctnl(&["stats"]).exits_with(0).stdout();
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(words.contains(&vec!["300", "insert"]) && words.contains(&vec!["300", "entries"]), "{text}");
}

fn a_watch_whose_reader_is_gone_ends(netns: &TestNetns) {
    let mut command = netns.ctnl_command(&["stats", "--watch", "1"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
