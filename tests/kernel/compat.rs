//! conntrack(8)'s command line: what is deleted, exit codes, and the scripts that parse its output.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use ctnl_test_support::harness::{Run, TestNetns, program, tests};
use ctnl_test_support::running::{Running, wait_for_listeners};
use nix::sys::signal::Signal;

tests![
    a_delete_by_a_bit_that_is_not_set_leaves_entries_that_have_it,
    a_delete_by_what_cannot_be_compared_is_refused,
    a_flush_of_a_family_leaves_the_other_one,
    a_delete_by_a_gre_key_leaves_other_keys,
    a_delete_by_an_ipv6_address_after_nat_leaves_other_addresses,
    a_list_shows_what_a_delete_with_the_same_filter_deletes,
    an_update_changes_the_entry_of_its_zone,
    nothing_found_is_a_failure_except_of_a_list,
    bad_usage_has_another_exit_code_than_a_failure,
    a_file_with_an_error_changes_nothing,
    a_file_whose_last_line_may_be_cut_short_deletes_nothing,
    a_delete_with_a_word_that_is_no_option_deletes_nothing,
    an_entry_whose_timeout_an_add_has_lowered_does_not_look_idle,
    a_long_file_from_a_pipe_is_read_as_a_whole_before_it_is_run,
    the_lines_of_a_file_are_run_in_their_order,
    a_created_entry_has_nat,
    what_is_saved_can_be_created_again,
    the_program_is_chosen_by_its_name,
    events_are_printed_until_a_signal,
    resetting_counters_is_refused_beside_a_filter,
    fail2ban_unbans_an_address_without_entries,
    kube_proxy_and_calico_recognise_that_nothing_was_deleted,
    keepalived_flushes_an_address_of_a_failed_node,
    a_script_adds_up_the_columns_of_a_list,
];

/// The arguments of conntrack(8) in one line.
fn conntrack(netns: &TestNetns, line: &str) -> Run {
    let arguments: Vec<&str> = ["conntrack"].into_iter().chain(line.split_whitespace()).collect();
    netns.ctnl(&arguments)
}

/// Runs each line, which has to succeed.
fn each(netns: &TestNetns, lines: &[&str]) {
    for line in lines {
        conntrack(netns, line).exits_with(0);
    }
}

/// An entry of UDP from 10.0.0.1 to 192.0.2.1, by its source port.
fn udp(port: u16, options: &str) -> String {
    format!("-I -p udp -s 10.0.0.1 -d 192.0.2.1 --sport {port} --dport 53 -t 600 {options}")
}

fn a_file_whose_last_line_may_be_cut_short_deletes_nothing(netns: &TestNetns) {
    each(netns, &[&udp(1, ""), &udp(2, "")]);
    for cut in ["-D -s 10.9.9.9\n-D", "-F", "-D -s 10.0.0.0/2", "-U -t 1 -p udp"] {
        fed(netns, &["conntrack", "-R", "-"], cut.as_bytes()).exits_with(2).stderr_contains("line feed");
        assert_eq!(ports(netns), [1, 2], "{cut}");
    }
    let long = [b"# ", [b'x'; 20_000].as_slice(), b"\n-F\n"].concat();
    fed(netns, &["conntrack", "-R", "-"], &long).exits_with(2).stderr_contains("bytes");
    assert_eq!(ports(netns), [1, 2]);
    fed(netns, &["conntrack", "-R", "-"], b"-D -p udp --sport 2 # gone\n").exits_with(0);
    assert_eq!(ports(netns), [1]);
}

fn a_delete_with_a_word_that_is_no_option_deletes_nothing(netns: &TestNetns) {
    each(netns, &[&udp(1, ""), &udp(2, "")]);
    for line in ["-D -o id 10.9.9.9", "-D -- -s 10.9.9.9", "-D -a 10.9.9.9", "-F -f ipv4 x", "-U -t 1 -u !ASSURED"] {
        conntrack(netns, line).exits_with(2);
        assert_eq!(ports(netns), [1, 2], "{line}");
    }
}

fn an_entry_whose_timeout_an_add_has_lowered_does_not_look_idle(netns: &TestNetns) {
    crate::meanwhile::with_a_run_folder_of_its_own();
    let tcp = |port: u16, seconds: u32| {
        format!(
            "-A -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport {port} --dport 443 --state ESTABLISHED -u SEEN_REPLY,ASSURED \
             -t {seconds}"
        )
    };
    each(netns, &[&tcp(1, 431_990), &tcp(2, 431_990)]);
    assert!(!fs::exists("/run/ctnl").unwrap(), "nothing that existed was changed");
    each(netns, &[&tcp(1, 2_000)]);
    let lines = format!("{}\n{}\n", tcp(2, 3_000), tcp(3, 431_990));
    fed(netns, &["conntrack", "-R", "-"], lines.as_bytes()).exits_with(0);
    // 2000 of 432000 s left would be five days.
    let older = ["flush", "--state", "established", "--older", "12h", "--trust-netlink-timeouts", "--yes"];
    netns.ctnl(&older).exits_with(0).stderr_contains("written-timeout");
    assert_eq!(ports(netns), [1, 2, 3]);
}

/// The source ports of the entries in the table, sorted.
fn ports(netns: &TestNetns) -> Vec<u16> {
    let mut ports: Vec<u16> = netns.dump().iter().filter_map(|flow| flow.orig.sport()).collect();
    ports.sort_unstable();
    ports
}

fn fed(netns: &TestNetns, arguments: &[&str], input: &[u8]) -> Run {
    let mut command = netns.ctnl_command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read everything.
    let _ = stdin.write_all(input);
    drop(stdin);
    Run::new(&command, child.wait_with_output().unwrap())
}

/// Runs a shell script in which `conntrack` is the program.
fn script(netns: &TestNetns, text: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(program(), folder.path().join("conntrack")).unwrap();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", folder.path().display());
    let mut command = Command::new("sh");
    let _ = netns;
    Run::of(command.args(["-c", text]).env_clear().env("PATH", path).env("LC_ALL", "C"))
}

fn a_delete_by_a_bit_that_is_not_set_leaves_entries_that_have_it(netns: &TestNetns) {
    let make = [udp(1, "-u SEEN_REPLY,ASSURED"), udp(2, ""), udp(3, "-u SEEN_REPLY")];
    for (bit, deleted, left) in [("UNREPLIED", 1, vec![1, 3]), ("!ASSURED", 2, vec![1])] {
        each(netns, &make.each_ref().map(String::as_str));
        let run = conntrack(netns, &format!("-D -u {bit}")).exits_with(0);
        assert_eq!(run.stdout().lines().count(), deleted, "{}", run.stdout());
        assert_eq!(ports(netns), left, "{bit}");
        conntrack(netns, "-F").exits_with(0);
    }
}

fn a_delete_by_what_cannot_be_compared_is_refused(netns: &TestNetns) {
    each(
        netns,
        &[
            &udp(1, ""),
            "-I -p sctp -s 10.0.0.1 -d 192.0.2.1 --sport 2 --dport 3 --state CLOSED -t 600 \
                   --orig-vtag 1 --reply-vtag 2",
        ],
    );
    for refused in
        ["-D -p sctp --orig-vtag 7", "-D -u SRC_NAT", "-D -u UNSET", "-D -p gre --reply-key-src 7", "-U -p udp -m 2/1"]
    {
        conntrack(netns, refused).exits_with(2);
    }
    assert_eq!(ports(netns).len(), 2);
    conntrack(netns, "-L -p gre --reply-key-src 7").exits_with(0).stderr_contains("WARNING");
}

fn a_flush_of_a_family_leaves_the_other_one(netns: &TestNetns) {
    let v6 = "-I -p udp -s 2001:db8::1 -d 2001:db8::2 --sport 6 --dport 53 -t 600";
    each(netns, &[&udp(4, ""), v6]);
    conntrack(netns, "-F -f ipv6").exits_with(0).stderr_contains("connection tracking table has been emptied.");
    assert_eq!(ports(netns), [4]);
    each(netns, &[v6, "-F -f ipv4"]);
    assert_eq!(ports(netns), [6]);
    each(netns, &["-F", "-F"]);
    assert_eq!(ports(netns), Vec::<u16>::new());
}

fn a_delete_by_a_gre_key_leaves_other_keys(netns: &TestNetns) {
    for (src, dst) in [(5, 6), (6, 5), (7, 6)] {
        let gre = "-I -p gre -s 10.0.0.1 -d 192.0.2.1 -t 600";
        conntrack(netns, &format!("{gre} --srckey {src} --dstkey {dst}")).exits_with(0);
    }
    conntrack(netns, "-D -p gre --srckey 5").exits_with(0).stderr_contains("1 flow entries have been deleted");
    conntrack(netns, "-D -p gre --dstkey 5").exits_with(0).stderr_contains("1 flow entries have been deleted");
    assert_eq!(netns.dump().len(), 1);
}

fn a_delete_by_an_ipv6_address_after_nat_leaves_other_addresses(netns: &TestNetns) {
    for (port, nat) in [(1, "2001:db8::3"), (2, "2001:db8::4")] {
        let line = format!("-I -p udp -s 2001:db8::1 -d 2001:db8::2 --sport {port} --dport 53 -t 600 -g {nat}");
        conntrack(netns, &line).exits_with(0);
    }
    conntrack(netns, "-D -g 2001:db8::4").exits_with(0);
    assert_eq!(ports(netns), [1]);
    conntrack(netns, "-D -n 2001:db8::3").exits_with(1);
    assert_eq!(ports(netns), [1]);
}

fn a_list_shows_what_a_delete_with_the_same_filter_deletes(netns: &TestNetns) {
    netns.fill(7, 500);
    let filters = [
        "-p tcp --state ESTABLISHED",
        "-s 10.0.0.0/9 -p udp",
        "-m 0/1 -u ASSURED,!SEEN_REPLY",
        "-n",
        "-g 203.0.113.5",
        "-f ipv6",
        "-s 10.0.0.1 --mask-src 255.0.0.255",
        "-w 0 -p icmp",
        "",
    ];
    let sorted = |run: &Run| {
        // The time that is left has passed on. On Linux 5.10 a dump counts as a user of an entry.
        let line = |line: &str| {
            line.split_whitespace()
                .enumerate()
                .filter(|(n, word)| *n != 2 && !word.starts_with("use="))
                .map(|(_, word)| word.to_owned())
                .collect::<Vec<_>>()
        };
        let mut lines: Vec<Vec<String>> = run.stdout().lines().map(line).collect();
        lines.sort();
        lines
    };
    let mut left = netns.dump().len();
    for filter in filters {
        let listed = sorted(&conntrack(netns, &format!("-L {filter}")).exits_with(0));
        let code = i32::from(listed.is_empty());
        let deleted = conntrack(netns, &format!("-D {filter}")).exits_with(code);
        assert_eq!(sorted(&deleted), listed, "{filter}");
        left -= listed.len();
        assert_eq!(netns.dump().len(), left, "{filter}");
    }
    assert_eq!(left, 0);
}

fn an_update_changes_the_entry_of_its_zone(netns: &TestNetns) {
    each(netns, &[&udp(1, ""), &udp(1, "-w 5 -m 3")]);
    let run = conntrack(netns, "-U -m 9 -i 0").exits_with(1);
    assert!(run.stderr().contains("0 flow entries have been updated"), "{}", run.stderr());
    let id = netns.dump().iter().find(|flow| flow.zone_both == Some(5)).and_then(|flow| flow.id).unwrap();
    let run = conntrack(netns, &format!("-U -m 9 -i {id}")).exits_with(0);
    assert!(run.stdout().contains("mark=9 zone=5"), "{}", run.stdout());
    let marks: Vec<_> = netns.dump().iter().map(|flow| (flow.zone_both, flow.mark)).collect();
    assert!(marks.contains(&(None, Some(0))) && marks.contains(&(Some(5), Some(9))), "{marks:?}");
    // As it is already.
    conntrack(netns, &format!("-U -m 9 -i {id}")).exits_with(1);
}

fn nothing_found_is_a_failure_except_of_a_list(netns: &TestNetns) {
    for (line, code, text) in [
        ("-L", 0, "0 flow entries have been shown."),
        ("-L expect", 0, "0 expectations have been shown."),
        ("-D -s 10.0.0.1", 1, "0 flow entries have been deleted."),
        ("-U -s 10.0.0.1 -m 1", 1, "0 flow entries have been updated."),
        ("-G -p udp -s 10.0.0.1 -d 192.0.2.1 --sport 1 --dport 53", 1, "no such entry"),
    ] {
        let run = conntrack(netns, line).exits_with(code).stderr_contains(text);
        assert!(run.stderr().starts_with("conntrack v1.4.9 (conntrack-tools): "), "{}", run.stderr());
        assert_eq!(run.stdout(), "", "{line}");
    }
    assert_eq!(conntrack(netns, "-C").exits_with(0).stdout(), "0\n");
    let stats = conntrack(netns, "-S").exits_with(0).stdout();
    assert!(stats.starts_with("cpu=0   \tfound=") && stats.ends_with(" \n"), "{stats}");
}

fn bad_usage_has_another_exit_code_than_a_failure(netns: &TestNetns) {
    for line in
        ["-L -D", "-L --dport 80", "-D -s nowhere", "-I -s 10.0.0.1", "-F -s 10.0.0.1", "-L -l nolabel", "-R /no/file"]
    {
        conntrack(netns, line).exits_with(2).stderr_contains("hint: conntrack -h");
    }
    each(netns, &[&udp(1, "")]);
    conntrack(netns, &udp(1, "")).exits_with(1).stderr_contains("EEXIST");
    assert_eq!(ports(netns), [1]);
}

fn a_file_with_an_error_changes_nothing(netns: &TestNetns) {
    each(netns, &[&udp(1, "")]);
    for bad in ["-D -p udp --orig-vtag 7", "-L", "-I -s 10.0.0.1", "-U -m 2/1", "-D -l nolabel", "-I \"-p"] {
        let lines = format!("{}\n\n# comment\n-F\n{bad}\n{}\n", udp(2, ""), udp(3, ""));
        fed(netns, &["conntrack", "-R", "-"], lines.as_bytes()).exits_with(2).stderr_contains("line 5: ");
        assert_eq!(ports(netns), [1], "{bad}");
    }
}

fn a_long_file_from_a_pipe_is_read_as_a_whole_before_it_is_run(netns: &TestNetns) {
    let lines: String = (0..60_000).map(|port| format!("{}\n", udp(port, "-u SEEN_REPLY"))).collect();
    assert!(lines.len() > 4 << 20);
    let bad = format!("{lines}-L\n");
    fed(netns, &["conntrack", "-R", "-"], bad.as_bytes()).exits_with(2).stderr_contains("line 60001: ");
    assert_eq!(netns.dump().len(), 0);
    fed(netns, &["conntrack", "-R", "-"], lines.as_bytes()).exits_with(0);
    assert_eq!(netns.dump().len(), 60_000);
}

fn the_lines_of_a_file_are_run_in_their_order(netns: &TestNetns) {
    let lines = [
        udp(1, ""),
        udp(2, ""),
        "-D -p udp --sport 1".into(),
        udp(1, "-m 7"),
        "-U --mark 8 -m 8 -p udp --sport 2".into(),
        udp(3, ""),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    fs::write(&path, lines.join("\n")).unwrap();
    let run = netns.ctnl(&["conntrack", "--load-file", path.to_str().unwrap()]).exits_with(0);
    // The lines of what was deleted and updated, and no numbers.
    assert_eq!((run.stdout().lines().count(), &*run.stderr()), (2, ""));
    let mut marks: Vec<_> = netns.dump().iter().map(|flow| (flow.orig.sport(), flow.mark)).collect();
    marks.sort_unstable();
    assert_eq!(marks, [(Some(1), Some(7)), (Some(2), Some(8)), (Some(3), Some(0))]);
    // A create that fails ends the run, after those of its batch.
    let lines = format!("{}\n{}\n-F\n", udp(1, ""), udp(4, ""));
    fed(netns, &["conntrack", "-R", "-"], lines.as_bytes()).exits_with(1).stderr_contains("lines 1 to 2: EEXIST");
    assert_eq!(ports(netns), [1, 2, 3, 4]);
}

fn a_created_entry_has_nat(netns: &TestNetns) {
    each(netns, &[&udp(1, "-n 203.0.113.5:4000"), &udp(2, "-g 198.51.100.7"), &udp(3, "")]);
    let run = conntrack(netns, "-L -n 203.0.113.5:4000").exits_with(0);
    assert!(run.stdout().contains("src=192.0.2.1 dst=203.0.113.5 sport=53 dport=4000"), "{}", run.stdout());
    for (nat, count) in [("-n", 1), ("-g", 1), ("-j", 2), ("-g 198.51.100.7:53", 0), ("-g 198.51.100.8", 0)] {
        let text = format!("{count} flow entries have been shown");
        conntrack(netns, &format!("-L {nat}")).exits_with(0).stderr_contains(&text);
    }
}

fn what_is_saved_can_be_created_again(netns: &TestNetns) {
    each(
        netns,
        &[
            &udp(1, "-n 203.0.113.5 -w 7"),
            &udp(2, "-g 198.51.100.7 -u SEEN_REPLY,ASSURED"),
            "-I -p icmp -s 10.0.0.1 -d 192.0.2.1 --icmp-type 8 --icmp-code 0 --icmp-id 7 -t 600",
            "-I -p gre -s 10.0.0.1 -d 192.0.2.1 --srckey 0x5 --dstkey 0x6 -t 600",
            "-I -p sctp -s 10.0.0.1 -d 192.0.2.1 --sport 1 --dport 2 --state CLOSED --orig-vtag 3 --reply-vtag 4 -t 600",
            "-I -p tcp -s 2001:db8::1 -d 2001:db8::2 --sport 1 --dport 2 --state TIME_WAIT -t 600",
            "-I -p 253 -s 10.0.0.1 -d 192.0.2.1 -t 600",
        ],
    );
    let saved = || {
        let lines = conntrack(netns, "-L -o save").exits_with(0).stdout();
        let without_time =
            |line: &str| line.split(' ').filter(|word| !word.starts_with("59")).collect::<Vec<_>>().join(" ");
        let mut sorted: Vec<String> = lines.lines().map(without_time).collect();
        sorted.sort();
        (lines, sorted)
    };
    let (lines, before) = saved();
    assert!(lines.contains("--orig-vtag 3 --reply-vtag 4"), "{lines}");
    let deleted = conntrack(netns, "-D -o save").exits_with(0).stdout();
    assert_eq!((deleted.lines().count(), netns.dump().len()), (7, 0));
    fed(netns, &["conntrack", "-R", "-"], deleted.replace("-D ", "-I ").as_bytes()).exits_with(0);
    assert_eq!(saved().1, before);
}

fn the_program_is_chosen_by_its_name(netns: &TestNetns) {
    let run = script(netns, "conntrack -V && conntrack -C && conntrack --counter && conntrack -h | grep -q Usage")
        .exits_with(0);
    assert_eq!(run.stdout(), "conntrack v1.4.9 (conntrack-tools)\n0\n0\n");
}

fn events_are_printed_until_a_signal(netns: &TestNetns) {
    let events = Running::start(netns, &["conntrack", "-E", "-e", "NEW,DESTROY", "-p", "udp", "-o", "timestamp"]);
    wait_for_listeners(1);
    each(
        netns,
        &[
            &udp(1, "-m 5"),
            "-I -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1 --dport 53 --state NONE -t 600",
            "-U -p udp -u SEEN_REPLY",
            "-D -p udp",
        ],
    );
    std::thread::sleep(Duration::from_millis(500));
    events.signal(Signal::SIGINT);
    let run = events.wait().exits_with(0).stderr_contains("2 flow events have been shown.");
    let lines: Vec<String> = run.stdout().lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with('[') && lines[0].contains("]\t    [NEW] udp      17 600 src=10.0.0.1"), "{lines:?}");
    assert!(
        lines[1].contains("]\t[DESTROY] udp      17 ") && lines[1].contains(" mark=5 [USERSPACE] portid="),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2);
}

fn resetting_counters_is_refused_beside_a_filter(netns: &TestNetns) {
    each(netns, &["-L -z", "-L -z -f ipv4"]);
    for filter in ["-p udp", "-n", "-u ASSURED"] {
        conntrack(netns, &format!("-L -z {filter}")).exits_with(2);
    }
}

/// An action of fail2ban: exit code 1 of a delete that found nothing is ignored by `|| true`.
fn fail2ban_unbans_an_address_without_entries(netns: &TestNetns) {
    each(netns, &[&udp(1, ""), &udp(2, "-w 7")]);
    let ban = "conntrack --delete --orig-src 10.0.0.1 >/dev/null 2>&1; echo $?";
    assert_eq!(script(netns, ban).exits_with(0).stdout(), "0\n");
    assert_eq!(script(netns, ban).exits_with(0).stdout(), "1\n");
    assert_eq!(netns.dump().len(), 0);
}

/// Both run a delete, and take a failure for an error unless its output has this text.
fn kube_proxy_and_calico_recognise_that_nothing_was_deleted(netns: &TestNetns) {
    let clear = "output=$(conntrack -D --orig-dst 192.0.2.1 -p udp --dport 53 2>&1) || case $output in \
                 *'0 flow entries have been deleted'*) echo none ;; *) echo error ;; esac";
    assert_eq!(script(netns, clear).exits_with(0).stdout(), "none\n");
    each(netns, &[&udp(1, "")]);
    assert_eq!(script(netns, clear).exits_with(0).stdout(), "");
    assert_eq!(script(netns, clear).exits_with(0).stdout(), "none\n");
}

/// A notify script of keepalived: entries of an address that moved away, by both of its roles.
fn keepalived_flushes_an_address_of_a_failed_node(netns: &TestNetns) {
    let other = "-I -p udp -s 10.0.0.9 -d 192.0.2.9 --sport 9 --dport 53 -t 600";
    each(netns, &[&udp(1, ""), "-I -p udp -s 192.0.2.1 -d 10.0.0.1 --sport 2 --dport 53 -t 600", other]);
    let flush = "for side in -s -d -r -q; do conntrack -D $side 192.0.2.1 2>/dev/null | wc -l; done";
    assert_eq!(
        script(netns, flush).exits_with(0).stdout().split_whitespace().collect::<Vec<_>>(),
        ["1", "1", "0", "0"]
    );
    assert_eq!(ports(netns), [9]);
}

/// Monitoring that counts states in the third column and takes the number from stderr.
fn a_script_adds_up_the_columns_of_a_list(netns: &TestNetns) {
    let tcp = |port: u16, state: &str| {
        format!("-I -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport {port} --dport 80 -t 600 --state {state}")
    };
    each(netns, &[&tcp(1, "ESTABLISHED"), &tcp(2, "ESTABLISHED"), &tcp(3, "TIME_WAIT")]);
    let count = "conntrack -L -p tcp 2>/dev/null | awk '{ n[$4]++ } END { print n[\"ESTABLISHED\"], n[\"TIME_WAIT\"] }'; \
                 conntrack -L -o extended 2>&1 >/dev/null | sed -n 's/.*: \\([0-9]*\\) flow entries.*/\\1/p'";
    assert_eq!(script(netns, count).exits_with(0).stdout(), "2 1\n3\n");
}
