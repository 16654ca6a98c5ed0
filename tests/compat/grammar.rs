//! What conntrack(8) refuses is refused, and nothing else but values that it does not understand.

use std::ffi::OsString;
use std::fs;
use std::process::Output;

use ctnl_test_support::harness::{TestNetns, tests};

use crate::cases;
use crate::conntrack_syntax::{Command, ErrorExit, Invocation, SyntaxError, parse, parse_line};
use crate::original;

tests![
    what_conntrack_refuses_in_the_tables_is_refused,
    what_conntrack_refuses_of_random_command_lines_is_refused,
    the_documentation_has_every_difference_of_the_tables,
];

/// What the original makes of a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Refused(i32),
    /// Labels are looked up by what runs the command, and by the original before it reads on.
    UnknownLabel,
    /// It has no right to open the socket of events, and checks masks after that.
    NotChecked,
    /// It was killed by a signal of its own.
    Crashed,
}

/// Errors with exit code 1 that are about the command line.
const REFUSED_WITH_1: [&str; 3] = ["unexpected value", "cannot combine save output", "cannot use --label-add"];

fn verdict(output: &Output) -> Verdict {
    let stderr = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        None => Verdict::Crashed,
        Some(2) if stderr.contains("unknown label") => Verdict::UnknownLabel,
        Some(2) => Verdict::Refused(2),
        Some(1) if REFUSED_WITH_1.iter().any(|text| stderr.contains(text)) => Verdict::Refused(1),
        Some(1) if stderr.contains("Can't open netlink socket") => Verdict::NotChecked,
        Some(_) => Verdict::Accepted,
    }
}

/// What the original makes of it; nothing is done.
pub fn original_verdict(words: &[String], input: &str) -> Verdict {
    verdict(&original::run(original::powerless().args(words), input))
}

/// What ours makes of it.
fn parsed(words: &[String], input: &str) -> Result<Option<Command>, SyntaxError> {
    let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    let names = |name: &[u8]| protocol_number(name);
    match parse(&arguments, &names)? {
        Invocation::Request(request) => Ok(Some(request.command)),
        Invocation::LoadFile(file) if file == "-" => {
            let mut lines = input.split_inclusive('\n');
            lines.try_for_each(|line| parse_line(line.as_bytes(), &names).map(drop)).map(|()| None)
        }
        Invocation::LoadFile(_) => Err(SyntaxError::usage("no such file")),
    }
}

/// As getprotobyname(3): by a name or an alias in /etc/protocols, if there is such a file.
fn protocol_number(name: &[u8]) -> Option<u8> {
    let text = fs::read_to_string("/etc/protocols").unwrap_or_default();
    let rows = text.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    let found = rows
        .map(Iterator::collect::<Vec<_>>)
        .find(|words| words.iter().enumerate().any(|(at, word)| at != 1 && word.as_bytes() == name))?;
    found.get(1)?.parse().ok()
}

/// How ours differs, if it does.
pub fn difference(words: &[String], input: &str) -> Option<String> {
    let original = original_verdict(words, input);
    let ours = parsed(words, input);
    let agree = match (&ours, original) {
        (Err(error), _) if error.is_stricter => true,
        // It reads its table of options beyond the end.
        (Ok(Some(Command::None)), _) => true,
        // A crash is refused as well.
        (Err(_), Verdict::Crashed | Verdict::UnknownLabel) => true,
        (Err(error), Verdict::NotChecked) => error.message.starts_with("--mask-"),
        (Err(error), Verdict::Refused(code)) => code == if error.exit == ErrorExit::Usage { 2 } else { 1 },
        (Err(_), Verdict::Accepted) => false,
        (Ok(_), Verdict::Accepted | Verdict::UnknownLabel | Verdict::NotChecked) => true,
        (Ok(_), Verdict::Refused(_) | Verdict::Crashed) => false,
    };
    (!agree).then(|| format!("{words:?}: conntrack: {original:?}, ours: {ours:?}"))
}

fn report(differences: &[String], of: usize) {
    assert!(differences.is_empty(), "{} of {of} differ:\n{}", differences.len(), differences.join("\n"));
}

fn what_conntrack_refuses_in_the_tables_is_refused(_: &TestNetns) {
    let (mut differences, mut count) = (Vec::new(), 0);
    for case in cases::all().iter().filter(|case| !case.fails) {
        for step in case.steps.iter().filter(|step| !step.reads || !case.steps.iter().any(|step| step.writes)) {
            count += 1;
            differences.extend(difference(&step.words, &case.input).map(|text| format!("{}: {text}", case.at)));
        }
    }
    assert!(count > 400, "only {count} command lines");
    report(&differences, count);
}

fn what_conntrack_refuses_of_random_command_lines_is_refused(_: &TestNetns) {
    const COMMAND_LINES: usize = 5000;
    let mut random = Random(seed());
    eprintln!("CTNL_SEED={}", random.0);
    let mut differences = Vec::new();
    for _ in 0..COMMAND_LINES {
        differences.extend(difference(&random.command_line(), ""));
    }
    report(&differences, COMMAND_LINES);
}

/// The same each time, so that a failure is one of the change that was made. `CTNL_SEED` has another.
fn seed() -> u64 {
    std::env::var("CTNL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_1409)
}

/// xorshift64*.
struct Random(u64);

const COMMANDS: &[&str] = &[
    "-L",
    "-L",
    "-L",
    "-D",
    "-D",
    "-U",
    "-I",
    "-A",
    "-G",
    "-F",
    "-E",
    "-C",
    "-S",
    "-V",
    "-h",
    "--dump",
    "--delete",
    "--upd",
    "--create",
    "--add",
    "--get",
    "--fl",
    "--eve",
    "--counter",
    "-L expect",
    "-L dying",
    "-D expect",
    "-L unc",
    "-E exp",
    "-F e",
    "-C c",
    "-U expect",
    "-L x",
    "--dump=expect",
    "-Cexpect",
    "-Lo xml",
    "-LD",
];
const PROTOCOLS: &[&str] =
    &["tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6", "gre", "6", "99", "TCP", "0x11", "256", "no"];
const PROTOCOL_OPTIONS: &[&str] = &[
    "--sport 1",
    "--dport 2",
    "--orig-port-src 1",
    "--orig-port-dst=2",
    "--reply-port-src 3",
    "--reply-port-dst 4",
    "--state ESTABLISHED",
    "--state OPEN",
    "--state NONE",
    "--state no",
    "--role client",
    "--role s",
    "--orig-vtag 1",
    "--reply-vtag 2",
    "--icmp-type 8",
    "--icmp-code 0",
    "--icmp-id 5",
    "--icmpv6-type 128",
    "--icmpv6-code 0",
    "--srckey 1",
    "--dstkey 0x2",
    "--reply-key-src 1",
    "--reply-key-dst 2",
    "--mask-port-src 0",
    "--mask-port-dst 1",
    "--tuple-port-src 0",
    "--tuple-port-dst 1",
    "--sport x",
    "--dport 99999",
    "--sp 4",
    "--reply 5",
    "--reply-port 6",
    "--mask-key-src 1",
    "--tuple-key-dst 1",
    "--st NONE",
    "--icmp-t 8",
];
const OPTIONS: &[&str] = &[
    "-s 10.0.0.1",
    "-d 10.0.0.2",
    "-s 10.0.0.0/8",
    "-d 10.0.0.0/33",
    "-s ::1",
    "-d fd00::/8",
    "-r 10.0.0.3",
    "-q 10.0.0.4",
    "-r 10.0.0.0/8",
    "--src 1.2.3",
    "--orig-dst=10.0.0.5",
    "--reply-src ::2",
    "--reply-dst x",
    "-t 5",
    "-t x",
    "--timeout=9",
    "-u ASSURED",
    "-u SEEN_REPLY,!ASSURED",
    "-u UNREPLIED",
    "-u x",
    "-u !",
    "-u ASS",
    "-z",
    "--zero",
    "-e NEW",
    "-e ALL,NEW",
    "-e x",
    "--tuple-src 10.0.0.1",
    "--tuple-dst 10.0.0.0/24",
    "--mask-src 255.0.0.0",
    "--mask-dst 255.255.0.0",
    "--mask-src ::",
    "-{ 255.0.0.0",
    "-a 1",
    "-m 1",
    "-m 1/2",
    "-m x",
    "-m 1/x",
    "-m 1/",
    "--mark 0x1/0xff",
    "-i 1",
    "-i x",
    "--id",
    "-f ipv4",
    "-f ipv6",
    "-f x",
    "-n",
    "-n 10.0.0.1",
    "-n 10.0.0.1:80",
    "-n x",
    "-g [::1]:5",
    "-g",
    "-j",
    "-j 10.0.0.9",
    "--src-nat=10.0.0.1",
    "-n10.0.0.1",
    "--any-nat",
    "-o xml",
    "-o save",
    "-o extended,id",
    "-o x",
    "-oid",
    "-c 5",
    "-c x",
    "-b 5",
    "-b x",
    "-w 5",
    "-w 70000",
    "--zone=6",
    "--orig-zone 7",
    "--reply-zone 8",
    "-( 5",
    "-) x",
    "--labelmap /dev/null",
    "--labelmap",
    "--label-del",
    "--x",
    "-y",
    "--",
    "word",
    "-",
    "--orig-zo 5",
    "--mask 5",
    "--out xml",
    "--stat ASSURED",
    "-zo xml",
    "-zs10.0.0.1",
    "--proto tcp",
];

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).expect("31 bits") % bound
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// Mostly what belongs together, so that many are accepted.
    fn command_line(&mut self) -> Vec<String> {
        let mut parts = vec![self.one_of(COMMANDS).to_owned()];
        if self.below(3) > 0 {
            parts.push(format!("-p {}", self.one_of(PROTOCOLS)));
            let count = self.below(4);
            parts.extend((0..count).map(|_| self.one_of(PROTOCOL_OPTIONS).to_owned()));
        }
        if self.below(3) == 0 {
            parts.push("-s 10.0.0.1 -d 10.0.0.2".to_owned());
        }
        if self.below(4) == 0 {
            parts.push("-t 5".to_owned());
        }
        for _ in 0..self.below(4) {
            let at = self.below(parts.len() + 1);
            parts.insert(at, self.one_of(OPTIONS).to_owned());
        }
        parts.iter().flat_map(|part| part.split(' ')).map(str::to_owned).collect()
    }
}

fn the_documentation_has_every_difference_of_the_tables(_: &TestNetns) {
    let documentation = include_str!("../../docs/compat.md");
    let named = cases::all().into_iter().filter_map(|case| case.difference.map(|name| (case.at, name)));
    let mut missing: Vec<String> = Vec::new();
    let mut count = 0;
    for (at, name) in named {
        count += 1;
        if !documentation.contains(&format!("| {name} |")) {
            missing.push(format!("{at}: {name}"));
        }
    }
    assert!(count > 0 && missing.is_empty(), "docs/compat.md has no row for: {}", missing.join(", "));
}
