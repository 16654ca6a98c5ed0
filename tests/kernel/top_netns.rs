//! `ctnl top --all-netns`.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use ctnl::model::Flow;
use ctnl::table::{self, DumpRequest};
use serde_json::{Value, json};

use ctnl_test_support::harness::{Run, TestNetns, assert_same_entries, entry, tests, udp};
use ctnl_test_support::running::until;
use ctnl_test_support::screen::OnScreen;

use crate::namespaces::{Tenant, command_of};

tests![
    a_batch_of_all_namespaces_has_their_sums_and_each_of_them_and_a_recording_has_them_too,
    namespaces_that_appear_and_vanish_are_shown_as_long_as_they_exist_with_their_new_entries,
    a_namespace_that_is_deleted_is_released_also_between_two_frames,
    a_namespace_that_cannot_be_entered_is_named,
    a_delete_in_one_namespace_leaves_the_same_entries_of_the_others,
    a_delete_shows_no_command_line_that_would_delete_in_another_namespace,
    a_namespace_that_grows_has_events_where_many_smaller_ones_had_them,
    a_signal_ends_a_batch_during_a_dump,
    the_view_of_namespaces_needs_all_namespaces,
];

const BATCH: &str = r#"
top() { "$CTNL" top "$@" || fail "top $*"; }
top --all-netns --batch --json -n 1 --interval 1 --by netns "not dport 9999" >"$OUT.netns"
top --all-netns --batch --json -n 1 --interval 1 --by port --no-events >"$OUT.port"
top --all-netns --batch --json -n 1 --interval 1 --by flows "sport 1001" >"$OUT.flows"
top --all-netns --batch -n 1 --interval 1 --record "$OUT.top" >"$OUT.text"
top --replay "$OUT.top" --batch --json --by netns >"$OUT.netns.replayed"
top --replay "$OUT.top" --batch --json --by flows >"$OUT.flows.replayed"
"#;

const COME_AND_GO: &str = r#"
n=0; while [ $n -lt 40 ]; do n=$((n+1)); echo "udp 10.7.0.1:$n 10.9.0.1:53"; done >"$OUT.list"
"$CTNL" top --all-netns --batch --json --interval 1 --by netns >"$OUT" 2>"$OUT.err" & top=$!
frames() { wc -l <"$OUT"; }
until_true "frame" '[ "$(frames)" -ge 1 ]'
"$CTNL" add -q -t 600 --netns b --file "$OUT.list" || fail add
touch /run/netns/c && unshare --net=/run/netns/c true || fail unshare
"$CTNL" add -q -t 600 --netns c --file "$OUT.list" || fail add
until_true "row of c" 'tail -n 1 "$OUT" | grep -q "\"netns\":\"c\""'
umount -l /run/netns/c || fail umount
until_true "frame without c" '! tail -n 1 "$OUT" | grep -q "\"netns\":\"c\""'
seen=$(frames)
until_true "frame behind it" '[ "$(frames)" -gt $((seen + 1)) ]'
kill -TERM $top
wait $top || fail "exit code $?"
[ ! -s "$OUT.err" ] || fail "$(cat "$OUT.err")"
"#;

/// No frame is made in the meantime.
const RELEASE: &str = r#"
touch /run/netns/c && unshare --net=/run/netns/c true || fail unshare
inode=$(stat -L -c %i /run/netns/c)
"$CTNL" top --all-netns --batch --interval 1h >"$OUT" 2>&1 & top=$!
has_it_open() { stat -L -c %i /proc/$top/fd/* 2>/dev/null | grep -qx "$inode"; }
until_true "open namespace" has_it_open
umount -l /run/netns/c || fail umount
until_true "release of the namespace" '! has_it_open'
kill -TERM $top
wait $top || fail "exit code $?"
"#;

/// The namespace c exists, and no path leads to it.
const COVERED: &str = r#"
touch /run/netns/c && unshare --net=/run/netns/c true && mount --bind /run/netns/b /run/netns/c || fail mount
"$CTNL" top --all-netns --batch --json -n 1 --interval 1 --by netns
[ $? = 3 ] || fail "exit code"
"#;

/// The namespace c has a name that is no UTF-8; the name of a is given to b, while a process is in a, and then none is.
const MOVED: &str = r#"
c="/run/netns/$(printf 'c\377')"
touch "$c" && unshare --net="$c" true && nsenter --net="$c" "$CTNL" add -q -t 600 --file "$OUT.list" || fail c
nsenter --net=/run/netns/a sleep 600 & user=$!
(
    until_true "request to move" '[ -e "$OUT.move" ]'
    mount --bind /run/netns/b /run/netns/a && echo $user >"$OUT.user"
    until_true "request to end" '[ -e "$OUT.end" ]'
    kill $user
    until_true "end" '! readlink /proc/$user/ns/net >/dev/null 2>&1' && echo gone >"$OUT.gone"
) </dev/null &
exec "$CTNL" top --all-netns --interval 1 --by netns udp
"#;

/// Of 35 namespaces, a and two others have no entries, and no events: the rate of new ones is unknown until a has more.
const GROW: &str = r#"
# Frames of so many namespaces are minutes apart on a slow machine.
slowly() { n=0; while ! eval "$2"; do n=$((n+1)); [ $n -lt 6000 ] || fail "no $1"; sleep 0.05; done; }
n=0; while [ $n -lt 40 ]; do n=$((n+1)); echo "udp 10.7.0.1:$n 10.9.0.1:53"; done >"$OUT.list"
n=0; while [ $n -lt 32 ]; do n=$((n+1))
    touch /run/netns/n$n && unshare --net=/run/netns/n$n true || fail unshare
    "$CTNL" add -q -t 600 --netns n$n udp 10.7.0.1:1 10.9.0.1:53 || fail "add $n"; done
"$CTNL" top --all-netns --batch --json --interval 1 --by netns --rows 50 >"$OUT" 2>&1 & top=$!
slowly "frame" '[ -s "$OUT" ]'
"$CTNL" add -q -t 600 --netns a --file "$OUT.list" || fail add
slowly "frame with a" 'tail -n 1 "$OUT" | grep -q "\"netns\":\"a\""'
slowly "rate of a" 'tail -n 1 "$OUT" | grep -q "\"netns\":\"a\",\"new_per_s\":[0-9]"'
kill -TERM $top
wait $top || fail "exit code $?"
"#;

/// How long a frame of all views takes, and how long the program takes to end after a signal at the beginning of the first one, five times; in ms.
const SIGNAL: &str = r#"
top() { exec "$CTNL" top --all-netns --batch --interval 1 --record "$OUT.top" "$@"; }
now() { sed 's/^\([0-9]*\)\.\([0-9]*\) .*/\1\20/' /proc/uptime; }
handles_term() { grep -q '^SigCgt:.*[4567cdef]...$' /proc/$top/status; }
(top --json -n 1) | sed 's/.*"dump_ms":\([0-9]*\),.*/\1/'
for attempt in 1 2 3 4 5; do
    top >"$OUT" 2>&1 & top=$!
    until_true handler handles_term
    kill -TERM $top; since=$(now)
    wait $top || fail "exit code $?"
    [ ! -s "$OUT" ] || fail "a frame"
    echo $(($(now) - since))
done
"#;

fn run(tenants: [&Tenant; 2], out: &Path, script: &str) -> Run {
    Run::of(&mut command_of(tenants, out, script)).exits_with(0)
}

fn frames(path: impl AsRef<Path>) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn udp_flows(ports: std::ops::Range<u16>, to: u16) -> Vec<Flow> {
    ports.map(|port| udp(port, to)).collect()
}

/// Group, namespace and entries of each row.
fn rows(frame: &Value) -> Vec<(String, Option<String>, u64)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let row = |row: &Value| (text(&row["group"]).unwrap(), text(&row["netns"]), row["entries"].as_u64().unwrap());
    frame["rows"].as_array().unwrap().iter().map(row).collect()
}

fn named(rows: &[(&str, &str, u64)]) -> Vec<(String, Option<String>, u64)> {
    rows.iter().map(|(group, netns, entries)| ((*group).into(), Some((*netns).into()), *entries)).collect()
}

fn a_batch_of_all_namespaces_has_their_sums_and_each_of_them_and_a_recording_has_them_too(netns: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("log");
    let (a, b) = (Tenant::new(), Tenant::new());
    a.create(&[udp_flows(1000..1030, 53), udp_flows(1000..1007, 443)].concat());
    b.create(&udp_flows(1000..1020, 53));
    netns.create(&[udp_flows(1001..1002, 443), udp_flows(1..3, 9999)].concat());
    run([&a, &b], &out, BATCH);
    let one = |end: &str| frames(format!("{}.{end}", out.display())).remove(0);
    let by_netns = one("netns");
    assert_eq!(rows(&by_netns), named(&[("a", "a", 37), ("b", "b", 20), ("host", "host", 1)]), "{by_netns}");
    assert_eq!((&by_netns["entries"], &by_netns["seen"], &by_netns["matched"]), (&json!(60), &json!(60), &json!(58)));
    let figures =
        json!({ "only": null, "read": 3, "missing": [], "no_events": [], "fullest": "a", "fullest_entries": 37 });
    assert_eq!(by_netns["netns"], figures);
    let new: Vec<_> = by_netns["rows"].as_array().unwrap().iter().map(|row| &row["new_per_s"]).collect();
    assert_eq!(new, [&json!(0.0); 3], "they have events: {by_netns}");
    let by_port = one("port");
    let sums = [("53".to_owned(), None, 50), ("443".to_owned(), None, 8), ("9999".to_owned(), None, 2)];
    assert_eq!(rows(&by_port), sums, "{by_port}");
    assert_eq!((&by_port["new_per_s"], &by_port["rows"][0]["new_per_s"]), (&Value::Null, &Value::Null), "{by_port}");
    let flows = one("flows");
    let mut shown = rows(&flows);
    shown.sort();
    let flow =
        |netns: &str, port| (format!("{netns}: udp 10.0.0.1:1001 -> 192.0.2.1:{port}"), Some(netns.to_owned()), 1);
    assert_eq!(shown, [flow("a", 443), flow("a", 53), flow("b", 53), flow("host", 443)], "{flows}");
    let text = fs::read_to_string(format!("{}.text", out.display())).unwrap();
    assert!(text.contains("3 netns  entries 60  fullest a: 37 of "), "{text}");
    // What is recorded has no filter.
    assert_eq!(rows(&one("netns.replayed")), named(&[("a", "a", 37), ("b", "b", 20), ("host", "host", 3)]));
    assert_eq!(one("netns.replayed")["netns"], figures);
    let replayed = one("flows.replayed");
    let replayed = rows(&replayed);
    assert!(
        replayed.len() == 20
            && replayed.iter().all(|(flow, netns, _)| {
                netns.as_ref().is_some_and(|netns| flow.starts_with(&format!("{netns}: udp ")))
            }),
        "{replayed:?}"
    );
}

fn namespaces_that_appear_and_vanish_are_shown_as_long_as_they_exist_with_their_new_entries(_: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("log");
    let (a, b) = (Tenant::new(), Tenant::new());
    a.create(&udp_flows(1000..1005, 53));
    b.create(&udp_flows(1000..1003, 53));
    run([&a, &b], &out, COME_AND_GO);
    let frames = frames(&out);
    // Of b all events were received, and none of a.
    let (mut of_b, mut of_c) = (0.0, Vec::new());
    for frame in &frames {
        assert_eq!(frame["netns"]["missing"], json!([]), "{frame}");
        let interval = frame["interval_ms"].as_f64().unwrap() / 1000.0;
        for row in frame["rows"].as_array().unwrap() {
            match row["netns"].as_str() {
                Some("a") => assert_eq!(row["new_per_s"], 0.0, "{frame}"),
                Some("b") => of_b += row["new_per_s"].as_f64().unwrap() * interval,
                Some("c") => of_c.push(row["entries"].as_u64().unwrap()),
                other => panic!("{other:?} {frame}"),
            }
        }
    }
    assert!((of_b - 40.0).abs() < 1.0, "{of_b} {frames:#?}");
    assert!(of_c.iter().all(|entries| *entries == 40) && !of_c.is_empty(), "{of_c:?}");
    let last = frames.last().unwrap();
    assert_eq!((rows(last), &last["netns"]["read"]), (named(&[("b", "b", 43), ("a", "a", 5)]), &json!(3)));
}

fn a_namespace_that_is_deleted_is_released_also_between_two_frames(_: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    run([&Tenant::new(), &Tenant::new()], &folder.path().join("log"), RELEASE);
}

fn a_namespace_that_cannot_be_entered_is_named(_: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (Tenant::new(), Tenant::new());
    b.create(&udp_flows(1000..1003, 53));
    let run = run([&a, &b], &folder.path().join("log"), COVERED);
    let frame: Value = serde_json::from_str(run.stdout().trim()).unwrap();
    let named_as = frame["netns"]["missing"][0].as_str().unwrap();
    assert!(named_as.starts_with("net:[") && frame["netns"]["read"] == 3, "{frame}");
    assert_eq!(rows(&frame), named(&[("b", "b", 3)]));
}

fn dump(tenant: &Tenant) -> Vec<Flow> {
    let mut flows = Vec::new();
    let keep = |flow: &Flow| {
        flows.push(flow.clone());
        ControlFlow::Continue(())
    };
    table::dump(&mut tenant.connection(), DumpRequest::default(), keep).unwrap();
    flows
}

fn a_delete_in_one_namespace_leaves_the_same_entries_of_the_others(netns: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (Tenant::new(), Tenant::new());
    let same = udp_flows(1000..1003, 53);
    let mut other = entry(udp(1000, 53).orig);
    other.orig.src = [10, 1, 0, 9].into();
    a.create(&[same.clone(), vec![entry(other.orig)]].concat());
    b.create(&same);
    netns.create(&same);
    let (of_b, of_host) = (dump(&b), netns.dump());
    let script = r#"exec "$CTNL" top --all-netns --interval 1 --by netns udp"#;
    let mut screen = OnScreen::of(command_of([&a, &b], &folder.path().join("log"), script), 24, 100);
    screen.wait_for_line("fullest a: 4 of ");
    screen.wait_for_line(" host");
    // All of all namespaces are not deleted at once.
    screen.type_in("K");
    screen.wait_for_line("one network namespace at a time");
    screen.type_in("\r");
    screen.wait_for_line("a: udp 10.1.0.9:1000");
    screen.wait_for_line("netns a");
    assert!(!screen.lines().iter().any(|line| line.contains(" b: udp")), "{:#?}", screen.lines());
    let delete = |screen: &mut OnScreen, keys: &str, entries: &str| {
        screen.type_in(keys);
        screen.wait_for_line("netns     a");
        screen.type_in("\r");
        screen.wait_for("ctnl flush --netns a --ask-above 0");
        screen.wait_for(entries);
        screen.type_in("y\r");
        screen.wait_for("deleted");
        screen.wait_for("Press a key");
        assert_same_entries(&dump(&b), &of_b);
        assert_same_entries(&netns.dump(), &of_host);
        screen.type_in(" ");
        screen.wait_for_line("? help");
    };
    // A source that the others have, too; then all that match.
    screen.type_in("s");
    screen.wait_for_line("75.0 %");
    delete(&mut screen, "k", "Delete 3 of 4 entries");
    assert_eq!(dump(&a).iter().map(|flow| flow.orig.src.to_string()).collect::<Vec<_>>(), ["10.1.0.9"]);
    screen.wait_for_line(" 10.1.0.9");
    delete(&mut screen, "K", "Delete 1 of 1 entries");
    assert!(dump(&a).is_empty());
    screen.type_in("\x1b");
    screen.wait_for_line("fullest ");
    screen.wait_for_line("3 netns");
    screen.type_in("q");
    screen.ends_with(0);
}

fn a_delete_shows_no_command_line_that_would_delete_in_another_namespace(netns: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("log");
    let file = |end: &str| format!("{}.{end}", out.display());
    let list: String = (1..9).map(|port| format!("udp 10.7.0.1:{port} 10.9.0.1:53\n")).collect();
    fs::write(file("list"), list).unwrap();
    let (a, b) = (Tenant::new(), Tenant::new());
    a.create(&udp_flows(1000..1004, 53));
    b.create(&udp_flows(1000..1003, 53));
    netns.create(&udp_flows(1000..1002, 53));
    let (of_b, of_host) = (dump(&b), netns.dump());
    let mut screen = OnScreen::of(command_of([&a, &b], &out, MOVED), 24, 100);
    screen.wait_for_line("fullest /run/netns/c");
    screen.wait_for_line(" a");
    // What is shown stays.
    screen.type_in(" ");
    screen.wait_for_line("PAUSED");
    let delete = |screen: &mut OnScreen, of: &str, command: &str, answer: &str| {
        screen.type_in("k");
        screen.wait_for_line(&format!("netns     {of}"));
        screen.type_in("\r");
        screen.wait_for(command);
        screen.wait_for("[y/N]");
        screen.type_in(answer);
        screen.wait_for("Press a key");
        screen.type_in(" ");
        screen.wait_for_line("? help");
    };
    const NONE: &str = "no --netns leads to this network namespace";
    delete(&mut screen, "/run/netns/c", NONE, "n\r");
    screen.type_in("\x1b[B");
    delete(&mut screen, "a", "ctnl flush --netns a --ask-above 0", "n\r");
    fs::write(file("move"), "").unwrap();
    until(|| fs::read_to_string(file("user")).is_ok_and(|user| user.ends_with('\n')), || "no move".to_owned());
    let user = fs::read_to_string(file("user")).unwrap();
    delete(&mut screen, "a", &format!("ctnl flush --netns {} --ask-above 0", user.trim()), "n\r");
    fs::write(file("end"), "").unwrap();
    until(|| Path::new(&file("gone")).exists(), || "the process has not ended".to_owned());
    delete(&mut screen, "a", NONE, "y\r");
    assert!(dump(&a).is_empty());
    assert_same_entries(&dump(&b), &of_b);
    assert_same_entries(&netns.dump(), &of_host);
    screen.type_in("q");
    screen.ends_with(0);
}

fn a_namespace_that_grows_has_events_where_many_smaller_ones_had_them(_: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("log");
    run([&Tenant::new(), &Tenant::new()], &out, GROW);
    // Only one of the others has lost its events.
    let last = frames(&out).pop().unwrap();
    let rows = last["rows"].as_array().unwrap();
    let unknown = rows.iter().filter(|row| row["new_per_s"].is_null()).count();
    assert_eq!((rows.len(), unknown), (33, 1), "{last}");
}

fn a_signal_ends_a_batch_during_a_dump(netns: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    netns.fill(1, 50_000);
    let run = run([&Tenant::new(), &Tenant::new()], &folder.path().join("log"), SIGNAL);
    let times: Vec<u64> = run.stdout().lines().map(|line| line.parse().unwrap()).collect();
    let fastest = times[1..].iter().min().unwrap();
    assert!(times.len() == 6 && *fastest < times[0] / 2, "{times:?}");
}

fn the_view_of_namespaces_needs_all_namespaces(netns: &TestNetns) {
    let batch = ["top", "--batch", "-n", "1", "--by", "netns"];
    netns.ctnl(&batch).exits_with(2).stderr_contains("ctnl top --all-netns --by netns");
    // In a guest there is no checkout.
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("recording-1.top");
    std::fs::write(&old, include_bytes!("../data/recording-1.top")).unwrap();
    let replay = ["top", "--batch", "--replay", old.to_str().unwrap(), "--by"];
    netns.ctnl(&[&replay[..], &["netns"]].concat()).exits_with(1).stderr_contains("one network namespace was recorded");
    let text = netns.ctnl(&[&replay[..], &["port"]].concat()).exits_with(0).stdout();
    assert!(text.contains("filter proto udp: 36 matched"), "{text}");
}
