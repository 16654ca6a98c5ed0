//! `ctnl top`.

use std::process::Command;

use serde_json::Value;

use ctnl_test_support::harness::assert_same_entries;
use ctnl_test_support::harness::{TestNetns, entry, program, tests, udp};
use ctnl_test_support::running::{Running, until};
use ctnl_test_support::screen::OnScreen;
use nix::sys::signal::Signal;

tests![
    a_batch_shows_the_sources_with_most_entries_first,
    entries_that_begin_between_two_frames_are_counted_by_their_events,
    without_events_and_start_times_nothing_is_said_of_new_entries,
    a_batch_whose_reader_is_gone_ends,
    a_screen_shows_the_sources_follows_keys_and_sizes_and_q_restores_the_terminal,
    sigterm_and_sighup_restore_the_terminal_also_while_a_filter_is_typed,
    a_stopped_screen_leaves_the_terminal_as_it_was_and_comes_back_as_it_was,
    a_delete_takes_exactly_the_selected_group_after_a_preview_and_a_question,
    a_soft_delete_of_the_filter_lowers_the_timeouts_up_to_the_maximum,
    a_screen_needs_a_terminal_for_input_and_output,
    a_recording_is_played_with_the_same_keys_and_deletes_nothing,
    a_recording_goes_on_while_a_question_is_open,
    a_recording_that_a_full_disk_ended_is_shown_as_ended_until_the_end_and_the_exit_code_says_so,
    a_long_filter_is_recorded_in_part_with_a_warning_and_its_rows,
    a_terminal_that_is_gone_ends_the_screen,
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
    // Fewer than the queue of a slow guest holds: beyond that, rates of groups are unknown.
    of_source(netns, 7, 1..61);
    let [frame] = &frames(&running.wait().exits_with(0).stdout())[..] else { panic!("one frame") };
    let rate = 60.0 * 1000.0 / frame["interval_ms"].as_f64().unwrap();
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

const SCREEN: [&str; 3] = ["top", "--interval", "1"];

fn screen(netns: &TestNetns, arguments: &[&str]) -> OnScreen {
    if netns.dump().is_empty() {
        of_source(netns, 1, 1..30);
        of_source(netns, 2, 1..90);
        of_source(netns, 3, 1..2);
    }
    let screen = OnScreen::start(netns, &[&SCREEN[..], arguments].concat(), 24, 80);
    screen.wait_for_line("10.1.0.");
    assert!(screen.is_raw());
    screen
}

fn a_screen_shows_the_sources_follows_keys_and_sizes_and_q_restores_the_terminal(netns: &TestNetns) {
    let mut screen = screen(netns, &[]);
    screen.wait_for_line("10.1.0.3");
    let shown = screen.lines().join("\n");
    assert!(shown.find("10.1.0.2") < shown.find("10.1.0.1"), "{shown}");
    screen.type_in("p");
    screen.wait_for_line("PORT");
    screen.type_in("/src 10.1.0.1\r");
    screen.wait_for_line("filter src 10.1.0.1: 29 matched");
    screen.type_in("/ and dprot 5\r");
    screen.wait_for_line("did you mean dport?");
    // The text and what is behind it are kept.
    screen.forget();
    screen.resize(12, 40);
    screen.wait_for_line("did you mean dport?");
    screen.wait_for_line("PORT");
    screen.resize(50, 200);
    screen.wait_for_line("BYTES/S");
    screen.type_in("\x1b");
    screen.wait_for_line("? help");
    screen.type_in("q");
    screen.ends_with(0);
}

fn sigterm_and_sighup_restore_the_terminal_also_while_a_filter_is_typed(netns: &TestNetns) {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut screen = screen(netns, &[]);
        screen.type_in("/tc");
        screen.wait_for_line("/tc");
        screen.signal(signal);
        screen.ends_with(0);
    }
}

fn a_stopped_screen_leaves_the_terminal_as_it_was_and_comes_back_as_it_was(netns: &TestNetns) {
    let mut screen = screen(netns, &[]);
    screen.type_in("z");
    screen.wait_for_line("ZONE");
    for stop in ["signal", "key"] {
        if stop == "key" {
            screen.type_in("\x1a");
        } else {
            screen.signal(Signal::SIGTSTP);
        }
        until(|| screen.is_stopped(), || "it is not stopped".to_owned());
        assert!(screen.is_restored(), "{stop}");
        screen.forget();
        screen.signal(Signal::SIGCONT);
        screen.wait_for("ZONE");
        assert!(screen.is_raw(), "{stop}");
    }
    // Of SIGSTOP nothing is noticed before it goes on.
    screen.signal(Signal::SIGSTOP);
    until(|| screen.is_stopped(), || "it is not stopped".to_owned());
    screen.forget();
    screen.signal(Signal::SIGCONT);
    screen.wait_for("ZONE");
    screen.type_in("q");
    screen.ends_with(0);
}

fn a_delete_takes_exactly_the_selected_group_after_a_preview_and_a_question(netns: &TestNetns) {
    let mut screen = screen(netns, &[]);
    let before = netns.dump();
    screen.type_in("k");
    screen.wait_for("10.1.0.2");
    screen.type_in("\r");
    screen.wait_for("TOP SOURCES");
    screen.wait_for("Delete 89 of 119 entries");
    assert!(!screen.is_raw(), "the question is asked in the usual mode");
    screen.type_in("n\r");
    screen.wait_for("nothing was deleted");
    screen.wait_for("Press a key");
    assert_same_entries(&netns.dump(), &before);
    screen.type_in(" ");
    screen.wait_for_line("? help");
    // Ctrl-C ends the question, and not the screen.
    screen.type_in("k\r");
    screen.wait_for("Delete 89 of 119 entries");
    screen.signal(Signal::SIGINT);
    screen.wait_for("interrupted; nothing was deleted");
    screen.wait_for("Press a key");
    screen.type_in(" ");
    screen.wait_for_line("? help");
    assert_same_entries(&netns.dump(), &before);
    screen.type_in("k\r");
    screen.wait_for("Delete 89 of 119 entries");
    screen.type_in("y\r");
    screen.wait_for("89 deleted");
    screen.wait_for("Press a key");
    screen.type_in(" ");
    screen.wait_for_line("? help");
    let is_bystander = |flow: &&ctnl::model::Flow| flow.orig.src.to_string() != "10.1.0.2";
    let bystanders: Vec<_> = before.iter().filter(is_bystander).cloned().collect();
    assert_same_entries(&netns.dump(), &bystanders);
    screen.type_in("q");
    screen.ends_with(0);
}

fn a_soft_delete_of_the_filter_lowers_the_timeouts_up_to_the_maximum(netns: &TestNetns) {
    let mut screen = screen(netns, &["src 10.1.0.2"]);
    screen.type_in("Ks20\r");
    screen.wait_for("Lower the timeout of 20 of 119 entries");
    screen.type_in("y\r");
    screen.wait_for("20 given a timeout of 10 s");
    screen.wait_for("69 beyond --max");
    screen.wait_for("Press a key");
    let lowered = netns.dump().iter().filter(|flow| flow.timeout.is_some_and(|left| left <= 10)).count();
    assert_eq!(lowered, 20);
    screen.type_in(" ");
    screen.wait_for("10.1.0.2");
    screen.type_in("q");
    screen.ends_with(0);
}

fn a_screen_needs_a_terminal_for_input_and_output(netns: &TestNetns) {
    netns.ctnl(&["top"]).exits_with(1).stderr_contains("--batch");
}

fn a_recording_is_played_with_the_same_keys_and_deletes_nothing(netns: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("night");
    let file = path.to_str().unwrap();
    let mut live = screen(netns, &["--record", file]);
    live.type_in("q");
    live.ends_with(0);
    let replay = ["top", "--replay", file];
    let text = netns.ctnl(&[&replay[..], &["--batch", "--by", "destination"]].concat()).exits_with(0).stdout();
    assert!(text.lines().any(|line| line.starts_with("119") || line.trim_start().starts_with("119 ")), "{text}");
    let before = netns.dump();
    let mut played = OnScreen::start(netns, &replay, 24, 100);
    played.wait_for_line("RECORDING");
    played.wait_for("10.1.0.2");
    played.type_in("t");
    played.wait_for_line("STATE");
    played.type_in("k");
    played.wait_for_line("a recording is not the table");
    played.type_in("q");
    played.ends_with(0);
    assert_same_entries(&netns.dump(), &before);
    // A record that was not written to its end is reported.
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    netns.ctnl(&[&replay[..], &["--batch"]].concat()).exits_with(1).stderr_contains("no frame");
}

fn a_recording_goes_on_while_a_question_is_open(netns: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("night");
    let length = || std::fs::metadata(&path).unwrap().len();
    let mut screen = screen(netns, &["--record", path.to_str().unwrap()]);
    screen.type_in("k\r");
    screen.wait_for("Delete 89 of 119 entries");
    let before = length();
    // Frames are recorded every ten seconds, so that this takes longer than anything that `until` waits for.
    let begun = std::time::Instant::now();
    while length() == before {
        assert!(begun.elapsed().as_secs() < 60, "nothing is recorded");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    screen.type_in("n\r");
    screen.wait_for("Press a key");
    screen.type_in(" ");
    screen.wait_for_line("? help");
    screen.type_in("q");
    screen.ends_with(0);
}

fn a_recording_that_a_full_disk_ended_is_shown_as_ended_until_the_end_and_the_exit_code_says_so(netns: &TestNetns) {
    of_source(netns, 1, 1..30);
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=64k small \"$1\" && echo 'ctnl-top 1' >\"$1/night\" &&
        { cat /dev/zero >>\"$1/night\" 2>/dev/null; exec \"$2\" top --interval 1 --record \"$1/night\"; }";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", folder.path().to_str().unwrap(), program()]);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut screen = OnScreen::of(command, 24, 80);
    screen.wait_for_line("ctnl top  NOT RECORDING");
    screen.wait_for_line("No space left on device");
    // Keys do not take it away.
    screen.type_in("pd");
    screen.wait_for_line("DESTINATION");
    screen.wait_for_line("NOT RECORDING: write ");
    screen.type_in("q");
    screen.ends_with(3);
}

fn a_long_filter_is_recorded_in_part_with_a_warning_and_its_rows(netns: &TestNetns) {
    of_source(netns, 1, 1..30);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("night");
    let addresses: Vec<String> = (0..1500).map(|n| format!("10.{}.{}.{}", 1 + n % 3, n / 7 % 250, n % 251)).collect();
    let filter = format!("src 10.1.0.1,{}", addresses.join(","));
    let record = ["top", "--batch", "-n", "1", "--interval", "1", "--record", file.to_str().unwrap(), &filter];
    netns.ctnl(&record).exits_with(0).stderr_contains("the filter is long");
    let replay = ["top", "--replay", file.to_str().unwrap(), "--batch", "--json"];
    let frame = frames(&netns.ctnl(&replay).exits_with(0).stdout()).remove(0);
    let recorded = frame["filter"].as_str().unwrap();
    assert!(recorded.ends_with(" …") && recorded.len() <= 1000, "{recorded}");
    assert_eq!((&frame["rows"][0]["group"], &frame["rows"][0]["filter"]), (&"10.1.0.1".into(), &Value::Null));
}

fn a_terminal_that_is_gone_ends_the_screen(netns: &TestNetns) {
    let mut screen = screen(netns, &[]);
    screen.hang_up();
    assert!(screen.wait().code().is_some());
}
