//! `ctnl top`.

use serde_json::Value;

use ctnl_test_support::harness::{TestNetns, entry, tests, udp};
use ctnl_test_support::running::{Running, until};

tests![
    a_batch_shows_the_sources_with_most_entries_first,
    entries_that_begin_between_two_frames_are_counted_by_their_events,
    without_events_and_start_times_nothing_is_said_of_new_entries,
    a_batch_whose_reader_is_gone_ends,
];

/// `count` UDP entries of the source 10.1.0.`last`.
fn of_source(netns: &TestNetns, last: u8, ports: std::ops::Range<u16>) {
    let flows = ports.map(|port| {
        let mut orig = udp(port, 53).orig;
        orig.src = [10, 1, 0, last].into();
        entry(orig)
    });
    netns.create(&flows.collect::<Vec<_>>());
}

fn frames(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn a_batch_shows_the_sources_with_most_entries_first(netns: &TestNetns) {
    of_source(netns, 1, 1..30);
    of_source(netns, 2, 1..90);
    of_source(netns, 3, 1..2);
    let batch = ["top", "--batch", "-n", "1", "--interval", "1"];
    let text = netns.ctnl(&batch).exits_with(0).stdout();
    let rows: Vec<Vec<&str>> = text.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    let shown: Vec<_> = rows.iter().filter_map(|row| Some((*row.first()?, *row.last()?))).collect();
    assert_eq!(shown, [("89", "10.1.0.2"), ("29", "10.1.0.1"), ("1", "10.1.0.3")], "{text}");
    let json = netns.ctnl(&[&batch[..], &["--json", "--by", "state", "--rows", "1", "not src 10.1.0.3"]].concat());
    let [frame] = &frames(&json.exits_with(0).stdout())[..] else { panic!("one frame") };
    assert_eq!((&frame["seen"], &frame["matched"], &frame["evictable"]), (&119.into(), &118.into(), &119.into()));
    let row = &frame["rows"][0];
    assert_eq!((&row["group"], &row["filter"], &row["entries"]), (&"udp".into(), &"proto udp".into(), &118.into()));
}

fn entries_that_begin_between_two_frames_are_counted_by_their_events(netns: &TestNetns) {
    of_source(netns, 1, 1..30);
    let running = Running::start(netns, &["top", "--batch", "-n", "1", "--interval", "2", "--json"]);
    std::thread::sleep(std::time::Duration::from_millis(1000));
    of_source(netns, 7, 1..401);
    let [frame] = &frames(&running.wait().exits_with(0).stdout())[..] else { panic!("one frame") };
    let rate = 400.0 * 1000.0 / frame["interval_ms"].as_f64().unwrap();
    let is_near = |value: &Value| (value.as_f64().unwrap() - rate).abs() < 1.0;
    assert!(is_near(&frame["new_per_s"]) && is_near(&frame["rows"][0]["new_per_s"]), "{frame}");
    assert_eq!((&frame["destroyed_per_s"], &frame["rows"][0]["group"]), (&0.0.into(), &"10.1.0.7".into()), "{frame}");
    assert_eq!(frame["rows"][1]["new_per_s"], 0.0, "{frame}");
}

fn without_events_and_start_times_nothing_is_said_of_new_entries(netns: &TestNetns) {
    of_source(netns, 1, 1..30);
    for (sysctl, arguments) in [("1", &["--no-events"][..]), ("0", &[])] {
        netns.set_sysctl("netfilter/nf_conntrack_events", sysctl);
        let batch = ["top", "--batch", "-n", "1", "--interval", "1", "--json"];
        let [frame] = &frames(&netns.ctnl(&[&batch[..], arguments].concat()).exits_with(0).stdout())[..] else {
            panic!("one frame")
        };
        assert_eq!((&frame["new_per_s"], &frame["rows"][0]["new_per_s"]), (&Value::Null, &Value::Null), "{frame}");
    }
}

fn a_batch_whose_reader_is_gone_ends(netns: &TestNetns) {
    let mut command = netns.ctnl_command(&["top", "--batch", "--interval", "1"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    until(|| child.try_wait().unwrap().is_some(), || "it goes on".to_owned());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
