//! `ctnl update` and `ctnl add`: their summaries agree with their effect on the table.

use std::io::Write;
use std::process::Stdio;

use ctnl::model::{Flow, L4, Protocol, Status, TcpState, Tuple};
use ctnl::table;

use ctnl_test_support::harness::{Run, TestNetns, assert_same_entries, flow, tests, udp};
use ctnl_test_support::similar_entries::similar_entries;
use ctnl_test_support::summary::Summary;

tests![
    a_cap_lowers_only_longer_timeouts_and_writes_nothing_to_the_others,
    after_a_cap_idle_times_take_the_written_timeout_into_account,
    an_update_changes_what_matches_and_nothing_else,
    an_update_that_the_kernel_refuses_is_counted_by_errno_and_changes_nothing,
    an_update_of_timeouts_of_most_of_the_table_stops_where_nobody_can_be_asked,
    a_dry_run_of_an_update_changes_nothing,
    an_update_stops_at_its_maximum,
    an_added_entry_has_what_was_given,
    adding_an_entry_that_exists_fails_and_replace_changes_it,
    replace_changes_no_entry_of_the_other_direction,
    tuples_are_read_from_standard_input_and_a_bad_line_ends_it_before_the_first_batch,
    labels_that_the_kernel_does_not_store_are_reported,
    the_other_lists_are_shown_and_not_the_table,
];

fn update(netns: &TestNetns, arguments: &[&str], code: i32) -> Summary {
    let arguments = [&["update", "--json"], arguments].concat();
    Summary::read_update(&netns.ctnl(&arguments).exits_with(code).stdout())
}

fn with_timeout(port: u16, seconds: u32) -> Flow {
    Flow { timeout: Some(seconds), ..udp(port, 53) }
}

fn a_cap_lowers_only_longer_timeouts_and_writes_nothing_to_the_others(netns: &TestNetns) {
    let flows: Vec<Flow> = (0..500).map(|port| with_timeout(1000 + port, 300 + u32::from(port % 2) * 3000)).collect();
    netns.create(&flows);
    let summary = update(netns, &["udp", "--cap-timeout", "600", "--yes"], 0);
    assert_eq!((summary.matched, summary.updated, summary.unchanged), (500, Some(250), Some(250)), "{summary:?}");
    assert!(summary.window_ms > 0.0);
    let dumped = netns.dump();
    for flow in &dumped {
        let was_long = flow.orig.sport().unwrap() % 2 == 1;
        let expected = if was_long { 500..=600 } else { 200..=300 };
        assert!(expected.contains(&flow.timeout.unwrap()), "{flow:?}");
    }
    assert_same_entries(&dumped, &flows);
    let again = update(netns, &["udp", "--cap-timeout", "600", "--yes"], 0);
    assert_eq!((again.updated, again.unchanged, again.window_ms), (Some(0), Some(500), 0.0), "{again:?}");
}

fn after_a_cap_idle_times_take_the_written_timeout_into_account(netns: &TestNetns) {
    let established = |port| Flow {
        status: Status::Confirmed | Status::SeenReply | Status::Assured,
        timeout: Some(431_000),
        protoinfo: ctnl::model::ProtoInfo::Tcp(ctnl::model::TcpInfo {
            state: TcpState::Established,
            ..ctnl::model::TcpInfo::default()
        }),
        ..flow(Protocol::Tcp, L4::Ports { src: port, dst: 443 })
    };
    netns.create(&[established(1)]);
    let idle = |netns: &TestNetns| {
        let run = netns.ctnl(&["list", "tcp and idle >= 12h", "--trust-netlink-timeouts", "-o", "conntrack"]);
        run.exits_with(0).stdout().lines().count()
    };
    update(netns, &["tcp", "--cap-timeout", "2000", "--yes"], 0);
    // 2000 of 432000 s left would be five days.
    assert_eq!(idle(netns), 0);
}

fn an_update_changes_what_matches_and_nothing_else(netns: &TestNetns) {
    let all = similar_entries();
    netns.create(&all);
    let summary =
        update(netns, &["udp", "and", "dport", "52", "--set-mark", "0x12/0xff", "--set-status", "assured"], 0);
    assert_eq!((summary.matched, summary.updated), (1, Some(1)), "{summary:?}");
    let changed: Vec<Flow> = netns.dump().into_iter().filter(|flow| flow.mark != Some(0)).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!((changed[0].orig, changed[0].mark), (udp(1000, 52).orig, Some(0x12)));
    assert!(changed[0].status.contains(Status::Assured));
    let zoned = update(netns, &["zone", "2", "--set-mark", "7"], 0);
    assert_eq!(zoned.updated, Some(1));
    let marked: Vec<Flow> = netns.dump().into_iter().filter(|flow| flow.mark == Some(7)).collect();
    assert_eq!((marked.len(), marked[0].zone_both), (1, Some(2)));
    let state = update(netns, &["--set-state", "time_wait", "--all", "--yes"], 3);
    assert_eq!((state.updated, state.skipped["not-tcp"]), (Some(1), all.len() as u64 - 1), "{state:?}");
}

fn an_update_that_the_kernel_refuses_is_counted_by_errno_and_changes_nothing(netns: &TestNetns) {
    netns.create(&[udp(1, 53), udp(2, 53)]);
    let arguments = ["udp", "--label-add", "3", "--set-mark", "9", "--set-timeout", "99", "--yes"];
    let summary = update(netns, &arguments, 1);
    assert_eq!((summary.failed.get("ENOSPC"), summary.partly, summary.updated), (Some(&2), Some(0), Some(0)));
    assert!(netns.dump().iter().all(|flow| flow.mark == Some(0) && flow.timeout > Some(99)));
    let hint = "has no room for labels";
    netns.ctnl(&[&["update"], &arguments[..]].concat()).exits_with(1).stderr_contains(hint);
}

fn an_update_of_timeouts_of_most_of_the_table_stops_where_nobody_can_be_asked(netns: &TestNetns) {
    netns.create(&(0..200).map(|port| with_timeout(port, 3000)).collect::<Vec<_>>());
    for change in [&["--cap-timeout", "1"][..], &["--set-timeout", "1"], &["--set-status", "fixed-timeout"]] {
        let run = netns.ctnl(&[&["update", "udp"], change].concat()).exits_with(2);
        run.stderr_contains("200 of 200 entries").stderr_contains("nothing was changed");
    }
    assert!(netns.dump().iter().all(|flow| flow.timeout > Some(2000) && !flow.status.contains(Status::FixedTimeout)));
    assert_eq!(update(netns, &["udp", "--set-mark", "1"], 0).updated, Some(200));
}

fn a_dry_run_of_an_update_changes_nothing(netns: &TestNetns) {
    netns.create(&[with_timeout(1, 300), with_timeout(2, 3000)]);
    let summary = update(netns, &["udp", "--cap-timeout", "600", "--dry-run"], 0);
    assert_eq!((summary.updated, summary.unchanged, summary.dry_run), (Some(1), Some(1), true));
    assert_eq!(summary.by_state.iter().map(|share| share.entries).sum::<u64>(), 1);
    let run = netns.ctnl(&["update", "udp", "--cap-timeout", "600", "--dry-run"]).exits_with(0);
    run.stderr_contains("2 matched, 1 would be updated, 1 already as wanted");
    assert!(netns.dump().iter().any(|flow| flow.timeout > Some(2000)));
}

fn an_update_stops_at_its_maximum(netns: &TestNetns) {
    netns.create(&(0..50).map(|port| with_timeout(port, 3000)).collect::<Vec<_>>());
    let summary = update(netns, &["udp", "--set-mark", "1", "--max", "7"], 0);
    assert_eq!((summary.updated, summary.beyond_max), (Some(7), 43));
    assert_eq!(netns.dump().iter().filter(|flow| flow.mark == Some(1)).count(), 7);
}

fn an_added_entry_has_what_was_given(netns: &TestNetns) {
    let words = "add tcp 10.0.0.1:40000 192.0.2.1:443 --timeout 1h --mark 0x10 --zone 4 --state close_wait \
                 --status assured,seen-reply --src-nat 198.51.100.1:6000";
    netns
        .ctnl(&words.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>())
        .exits_with(0)
        .stderr_contains("1 added");
    let [found] = &netns.dump()[..] else { panic!("one entry") };
    assert_eq!((found.mark, found.zone_both, found.reply.dst), (Some(16), Some(4), [198, 51, 100, 1].into()));
    assert!(found.status.contains(Status::Assured | Status::SeenReply | Status::SrcNat | Status::SrcNatDone));
    assert!((3500..=3600).contains(&found.timeout.unwrap()) && found.reply.dport() == Some(6000), "{found:?}");
    netns.ctnl(&["add", "udp", "10.0.0.1:1", "10.0.0.2:53", "--timeout", "60", "--dry-run"]).exits_with(0);
    assert_eq!(netns.dump().len(), 1);
}

fn adding_an_entry_that_exists_fails_and_replace_changes_it(netns: &TestNetns) {
    netns.create(&[with_timeout(1, 3000)]);
    let tuple = ["add", "udp", "10.0.0.1:1", "10.0.0.2:53", "--timeout", "77"];
    let [src, dst] = [udp(1, 53).orig.src, udp(1, 53).orig.dst].map(|address| address.to_string());
    let tuple = [tuple[0], tuple[1], &format!("{src}:1"), &format!("{dst}:53"), tuple[4], tuple[5]];
    netns.ctnl(&tuple).exits_with(1).stderr_contains("EEXIST").stderr_contains("--replace");
    netns.ctnl(&[&tuple[..], &["--replace", "--mark", "3"]].concat()).exits_with(0);
    let [found] = &netns.dump()[..] else { panic!("one entry") };
    assert!(found.timeout <= Some(77) && found.mark == Some(3), "{found:?}");
    let helper = netns.ctnl(&[&tuple[..], &["--replace", "--helper", "ftp"]].concat()).exits_with(1);
    helper.stderr_contains("which it cannot get");
}

fn replace_changes_no_entry_of_the_other_direction(netns: &TestNetns) {
    netns.create(&[with_timeout(1, 3000)]);
    let Tuple { src, dst, .. } = udp(1, 53).orig;
    let arguments = ["add", "udp", &format!("{dst}:53"), &format!("{src}:1"), "--timeout", "7", "--replace"];
    netns.ctnl(&arguments).exits_with(1).stderr_contains("reply tuple is another one");
    assert!(netns.dump()[0].timeout > Some(2000));
}

fn add_lines(netns: &TestNetns, lines: &str) -> Run {
    let mut command = netns.ctnl_command(&["add", "--file", "-", "--timeout", "60"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read all.
    let _ = stdin.write_all(lines.as_bytes());
    drop(stdin);
    Run::new(command, child.wait_with_output().unwrap())
}

fn tuples_are_read_from_standard_input_and_a_bad_line_ends_it_before_the_first_batch(netns: &TestNetns) {
    add_lines(netns, "udp 10.0.0.1:1 10.0.0.2:53\nbad\n").exits_with(2).stderr_contains("line 2 of '-'");
    assert_eq!(netns.dump(), []);
    add_lines(netns, "# tuples\n\nudp 10.0.0.1:1 10.0.0.2:53\nudp 10.0.0.1:1 10.0.0.2:53\n").exits_with(3);
    assert_eq!(netns.dump().len(), 1);
    let many: String = (1000..1500).map(|port| format!("udp 10.0.0.1:{port} 10.0.0.2:53\n")).collect();
    add_lines(netns, &format!("{many}bad\n")).exits_with(3).stderr_contains("500 added");
    assert_eq!(netns.dump().len(), 501);
}

fn labels_that_the_kernel_does_not_store_are_reported(netns: &TestNetns) {
    let arguments = ["add", "udp", "10.0.0.1:1", "10.0.0.2:53", "--timeout", "60", "--label", "3"];
    netns.ctnl(&arguments).exits_with(3).stderr_contains("1 without the labels");
    assert_eq!(table::count(&mut netns.connection()).unwrap().entries, 1);
}

fn the_other_lists_are_shown_and_not_the_table(netns: &TestNetns) {
    netns.create(&[udp(1, 53)]);
    for table in ["dying", "unconfirmed"] {
        let run = netns.ctnl(&["list", "--table", table]).exits_with(0).stderr_contains("0 matched, 0 entries seen");
        assert_eq!(run.stdout(), "");
    }
    assert_eq!(netns.ctnl(&["list", "--table", "conntrack"]).exits_with(0).stdout().lines().count(), 1);
    netns.ctnl(&["list", "--zero"]).exits_with(2).stderr_contains("nothing was reset");
    assert_eq!(netns.ctnl(&["list", "--zero", "--yes"]).exits_with(0).stdout().lines().count(), 1);
}
