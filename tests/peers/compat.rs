//! The command line of conntrack(8), executed by both programs on tables of their own: same exit code, same lines.
//!
//! What differs on purpose is in docs/compat.md. Remaining seconds, ids and the order of entries are not compared.

use std::process::Command;
use std::thread;

use ctnl_test_support::harness::{Run, TestNetns, program, tests};
use ctnl_test_support::net::PATH;

tests![command_lines_have_the_same_exit_code_and_lines, lists_of_a_large_table_have_the_same_lines];

/// Creates, lists, updates and deletes, in this order.
const LINES: &[&str] = &[
    "-I -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1000 --dport 443 --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 500 -m 5",
    "-I -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1000 --dport 443 --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 500 -m 5",
    "-I -p tcp -s 10.0.0.2 -d 192.0.2.1 --sport 1000 --dport 443 --state SYN_SENT -t 500",
    "-I -p udp -s 10.0.0.1 -d 192.0.2.1 --sport 53 --dport 53 -t 500 -w 5",
    "-I -p udp -s 10.0.0.1 -d 192.0.2.1 --sport 54 --dport 53 -t 500 -n 203.0.113.5:4000",
    "-I -p udp -s 10.0.0.1 -d 192.0.2.1 --sport 55 --dport 53 -t 500 -g 198.51.100.7",
    "-I -p icmp -s 10.0.0.1 -d 192.0.2.1 --icmp-type 8 --icmp-code 0 --icmp-id 7 -t 500",
    "-I -p gre -s 10.0.0.1 -d 192.0.2.1 --srckey 1 --dstkey 2 -t 500",
    "-I -p 253 -s 10.0.0.1 -d 192.0.2.1 -t 500",
    "-I -p udp -s 2001:db8::1 -d 2001:db8::2 --sport 1 --dport 2 -t 500 -m 0x10",
    "-I -r 192.0.2.9 -q 10.0.0.9 -p udp --reply-port-src 53 --reply-port-dst 54 -t 500",
    "-I -s 10.0.0.1 -p udp -t 5",
    "-I -p udp -s 10.0.0.1 -d 2001:db8::2 --sport 1 --dport 2 -t 5",
    "-L",
    "-L -o extended",
    "-L -o xml -p icmp",
    "-L -p tcp --state SYN_SENT",
    "-L -s 10.0.0.0/30 -d 192.0.2.1",
    "-L -s 10.0.0.1 --mask-src 255.255.255.254",
    "-L -m 5",
    "-L -m 4/4",
    "-L -u ASSURED",
    "-L -w 5",
    "-L -n",
    "-L -g 198.51.100.7",
    "-L -j",
    "-L -f ipv6",
    "-L -p icmp --icmp-type 8",
    "-G -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1000 --dport 443",
    "-G -p tcp -s 10.0.0.7 -d 192.0.2.1 --sport 1000 --dport 443",
    "-C",
    "-U -s 10.0.0.1 -p tcp -m 7",
    "-U -s 10.0.0.1 -p tcp -m 7",
    "-U -s 10.0.0.1 -p tcp -m 0x10/0xf0",
    "-U -s 10.0.0.2 -u SEEN_REPLY",
    "-U -s 10.0.0.2 -p tcp --state TIME_WAIT",
    "-U -s 10.0.0.99 -m 1",
    "-L -p tcp",
    "-D -p tcp --dport 444",
    "-D -m 23 -p tcp",
    "-D -w 5",
    "-D -g",
    "-D -q 10.0.0.9",
    "-D -f ipv6",
    "-L",
    "-D -s 10.0.0.0/8",
    "-D -s 10.0.0.0/8",
    "-F",
    "-L expect",
    "-C expect",
    "-F expect",
    "-L dying",
    "-L -D",
    "-L -p nothing",
    "-Z",
];

/// Exit code and lines of each command, run in a namespace of its own.
fn replay(program: Vec<String>) -> Vec<(Option<i32>, Vec<String>)> {
    let work = move || {
        let _netns = TestNetns::new();
        LINES.iter().map(|line| run(&program, line)).collect()
    };
    thread::spawn(work).join().unwrap()
}

fn run(program: &[String], line: &str) -> (Option<i32>, Vec<String>) {
    let (name, first) = program.split_first().unwrap();
    let mut command = Command::new(name);
    command.args(first).args(line.split_whitespace()).env_clear().env("PATH", PATH).env("LC_ALL", "C");
    let run = Run::of(&mut command);
    let mut lines: Vec<String> = run.stdout().lines().map(without_numbers_of_the_moment).collect();
    lines.sort();
    (run.code(), lines)
}

/// The line without remaining seconds, id and reference count.
fn without_numbers_of_the_moment(line: &str) -> String {
    let is_left_out = |place: usize, word: &str| {
        let is_timeout = (2..5).contains(&place) && word.bytes().all(|byte| byte.is_ascii_digit());
        is_timeout || word.starts_with("use=")
    };
    let words = line.split_whitespace().enumerate().filter(|(place, word)| !is_left_out(*place, word));
    let text = words.map(|(_, word)| word).collect::<Vec<_>>().join(" ");
    ["timeout", "id", "use"].into_iter().fold(text, |text, element| without_element(&text, element))
}

fn without_element(text: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    match (text.find(&open), text.find(&close)) {
        (Some(start), Some(end)) => format!("{}{}", &text[..start], &text[end + close.len()..]),
        _ => text.to_owned(),
    }
}

fn ours() -> Vec<String> {
    vec![program().to_owned(), "conntrack".to_owned()]
}

fn command_lines_have_the_same_exit_code_and_lines(_netns: &TestNetns) {
    let (theirs, ours) = (replay(vec!["conntrack".to_owned()]), replay(ours()));
    for ((line, theirs), ours) in LINES.iter().zip(theirs).zip(ours) {
        assert_eq!(ours, theirs, "{line}");
    }
}

fn lists_of_a_large_table_have_the_same_lines(netns: &TestNetns) {
    netns.fill(11, 3_000);
    for line in [
        "-L",
        "-L -p tcp --state ESTABLISHED -u ASSURED",
        "-L -p udp --dport 53",
        "-L -s 10.0.0.0/9",
        "-L -r 10.0.0.0",
        "-L -n",
        // conntrack(8) compares the ports of ICMP, which has none.
        "-L -g -p tcp",
        "-L -j -p udp",
        "-L -m 1/1",
        "-L -w 0",
        "-L -f ipv6",
        "-L -o extended,id",
    ] {
        let ((code, ours), (expected, theirs)) = (run(&ours(), line), run(&["conntrack".to_owned()], line));
        assert_eq!(code, expected, "{line}");
        let without = |lines: &[String], others: &[String]| -> Vec<String> {
            lines.iter().filter(|line| !others.contains(line)).take(3).cloned().collect()
        };
        assert_eq!((without(&ours, &theirs), without(&theirs, &ours)), (Vec::new(), Vec::new()), "{line}");
        assert_eq!(ours.len(), theirs.len(), "{line}");
    }
}
