//! The event lines of ctnl are those of a concurrent `conntrack -E`, and jq parses every kind of line.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use ctnl::age::IdleEstimator;
use ctnl::field::Subject;
use ctnl::metrics::StreamSnapshot;
use ctnl::model::{Event, EventKind, Expectation, ExpectationEvent, Flow, HelperName, L4, Protocol};
use ctnl::output::{
    BeginRecord, CONNTRACK, ClockSource, CloseRecord, EndRecord, EventTime, ExpectationRecord, FlowRecord, GapCause,
    GapRecord, HeartbeatRecord, JSON, LastPacket, LineContext, OpenRecord, Record, Requester, ResyncRecord, SinkState,
    StartTime, SyntheticCause, SysctlGroup, TextOptions, WaitingLine, WriterOptions,
};
use ctnl::wire::Messages;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use ctnl_test_support::connections::{Tcp, Udp};
use ctnl_test_support::harness::{Run, TestNetns, flow, tests, udp};
use ctnl_test_support::net::{Net, OUTSIDE, PATH, conntrack, nft};
use ctnl_test_support::running::wait_for_listeners;

tests![
    event_lines_are_those_of_conntrack,
    an_expectation_is_reported_with_the_line_of_conntrack_and_also_where_conntrack_reports_none,
    jq_parses_every_kind_of_line,
    the_documented_jq_commands_print_results,
    the_documented_mappings_keep_every_connection,
];

const TIMEOUT: Duration = Duration::from_secs(20);

/// All groups: new, update, destroy, and the same of expectations.
const GROUPS: u32 = 0b11_1111;

/// The mark of the entry that is created last.
const LAST_MARK: u32 = 424_242;

/// A running `conntrack -E`, and its lines.
struct ConntrackMonitor {
    child: Child,
    lines: Receiver<String>,
}

impl ConntrackMonitor {
    fn new(arguments: &[&str]) -> Self {
        let mut command = Command::new("conntrack");
        command.arg("-E").args(arguments).env_clear().env("PATH", PATH);
        Self::of(command)
    }

    /// Another program that prints a line for each event.
    fn of(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("conntrack");
        let stdout = child.stdout.take().expect("its output");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)) {
                drop(sender.send(line.expect("a line")));
            }
        });
        ConntrackMonitor { child, lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(TIMEOUT).expect("another line of conntrack -E")
    }
}

impl Drop for ConntrackMonitor {
    fn drop(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }
}

fn listener() -> Socket {
    let mut socket = Socket::new(NETLINK_NETFILTER).expect("a netlink socket");
    socket.bind(&SocketAddr::new(0, GROUPS)).expect("join the groups");
    socket
}

/// Every event up to that of the last mark.
fn received(socket: &Socket) -> (Vec<Event>, Vec<ExpectationEvent>) {
    let (mut events, mut expectations) = (Vec::new(), Vec::new());
    loop {
        let (datagram, _) = socket.recv_from_full().expect("an event");
        let message = Messages::new(&datagram).next().expect("a message").expect("whole");
        if Expectation::is_in(&message) {
            expectations.push(ExpectationEvent::decode(&message).expect("an expectation"));
            continue;
        }
        let kind = match (message.kind, message.flags) {
            (0x102, _) => EventKind::Destroy,
            (_, 0) => EventKind::Update,
            _ => EventKind::New,
        };
        let mut event = Event::blank();
        event.decode_from(kind, &message).expect("an event");
        if event.flow.mark == Some(LAST_MARK) {
            return (events, expectations);
        }
        events.push(event);
    }
}

/// Traffic with NAT and a helper, requests, and what they leave.
pub fn make_events(netns: &TestNetns, net: &Net<'_>) {
    netns.require_ftp_helper();
    let mut connections = [Tcp::open(net), Tcp::open6(net)];
    connections.iter_mut().for_each(Tcp::exchange);
    drop(connections);
    Udp::open(net).exchange();
    Udp::open6(net).send_one_way();
    let service = net.outside.run(|| TcpListener::bind((OUTSIDE, 21)).expect("listen"));
    let mut control = Tcp::through(net, &service, (OUTSIDE, 21).into());
    // The helper only reads replies that follow a line end (`help` in nf_conntrack_ftp.c).
    for line in ["220 ready\r\n", "227 Entering Passive Mode (10,2,0,2,7,8).\r\n"] {
        control.server.write_all(line.as_bytes()).expect("send");
        control.client.read_exact(&mut vec![0; line.len()]).expect("receive");
    }
    let ends = ["-p", "tcp", "-s", "10.9.0.1", "-d", "10.9.0.2", "--sport", "1", "--dport", "22"];
    conntrack(&[&["-I"][..], &ends, &["-t", "50", "--state", "ESTABLISHED", "-u", "SEEN_REPLY"]].concat());
    conntrack(&[&["-U"][..], &ends, &["-m", "7"]].concat());
    conntrack(&[&["-D"][..], &ends].concat());
    conntrack(&["-F", "expect"]);
    conntrack(&["-F"]);
    let mut last = udp(1, 2);
    last.mark = Some(LAST_MARK);
    netns.create(&[last]);
}

pub const RULES: &str = "table inet rules {
    ct helper ftp-std {
        type \"ftp\" protocol tcp;
    }
    chain before {
        type filter hook prerouting priority 0;
        tcp dport 21 ct helper set \"ftp-std\"
        meta l4proto udp ct label set 5
    }
    chain after {
        type nat hook postrouting priority 100;
        oifname out0 masquerade
    }
}";

/// The line of an event that conntrack(8) showed as `line`: what it saw and the
/// datagram does not say, its clock and the name of a process, is taken from there.
fn ours(event: &Event, line: &str, text: &TextOptions) -> String {
    let time = line.strip_prefix('[').and_then(|line| line.split_once("]\t"));
    let digits = time.map_or_else(|| "0".into(), |(time, _)| time.replace('.', "") + "000");
    let time = EventTime { ns: digits.parse().expect("a time"), clock: ClockSource::Received };
    let process = line.split_once(" progname=").map(|(_, name)| name);
    let requester = (event.port != 0).then_some(Requester { port: event.port, process, is_certain: true });
    let estimator = IdleEstimator::without_timeouts(0);
    let subject = &Subject::of_event(&event.flow, &estimator, event.kind);
    let record = FlowRecord { requester, time, ..plain(event, subject) };
    let options = WriterOptions { text: text.clone(), columns: None };
    let mut out = Vec::new();
    assert!(CONNTRACK.event_writer(options).expect("text").record(&mut out, 1, &Record::Flow(record)));
    String::from_utf8(out).expect("text").trim_end_matches('\n').to_owned()
}

fn plain<'a>(event: &Event, subject: &'a Subject<'a>) -> FlowRecord<'a> {
    let time = EventTime { ns: 1, clock: ClockSource::Received };
    let (kind, is_mark_implied) = (event.kind, event.is_mark_implied);
    let (synthetic, start, killed, requester, netns) = (None, None, None, None, None);
    FlowRecord { kind, synthetic, time, subject, start, killed, requester, netns, is_mark_implied }
}

fn event_lines_are_those_of_conntrack(netns: &TestNetns) {
    let net = Net::new(netns);
    netns.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    nft(RULES);
    let socket = listener();
    let monitors = [ConntrackMonitor::new(&[]), ConntrackMonitor::new(&["-o", "timestamp,id,extended"])];
    let expectation_monitor = ConntrackMonitor::new(&["expect"]);
    wait_for_listeners(4);
    make_events(netns, &net);
    let (events, expectations) = received(&socket);
    for kind in [EventKind::New, EventKind::Update, EventKind::Destroy] {
        assert!(events.iter().filter(|event| event.kind == kind).count() > 5, "{kind:?}: {events:?}");
    }
    let all = TextOptions { timestamp: true, id: true, extended: true, ..TextOptions::default() };
    for (monitor, text) in monitors.iter().zip([TextOptions::default(), all]) {
        // Events of two processors may reach two listeners in different order.
        let theirs: Vec<String> = events.iter().map(|_| monitor.next()).collect();
        let matched = events.iter().all(|event| theirs.iter().any(|line| ours(event, line, &text) == *line));
        let covered = theirs.iter().all(|line| events.iter().any(|event| ours(event, line, &text) == *line));
        let shown: Vec<String> = events.iter().map(|event| ours(event, "", &text)).collect();
        assert!(matched && covered, "theirs:\n{}\nours:\n{}", theirs.join("\n"), shown.join("\n"));
        assert!(monitor.next().contains(&format!("mark={LAST_MARK}")));
    }
    assert!(expectations.len() >= 2, "{expectations:?}");
    let mut writer = CONNTRACK.event_writer(WriterOptions::default()).expect("text");
    for event in &expectations {
        let mut out = Vec::new();
        assert!(writer.record(&mut out, 1, &Record::Expectation(expected(event))));
        assert_eq!(String::from_utf8_lossy(&out), expectation_monitor.next() + "\n");
    }
}

/// The kernel sends events of an expectation only if its master sends events (`nf_ct_expect_event_report` in
/// net/netfilter/nf_conntrack_ecache.c). With `nf_conntrack_events=2`, the default, it does not where it is older than the
/// first subscription in any namespace; with 0, as here, other programs of the host change nothing.
fn an_expectation_is_reported_with_the_line_of_conntrack_and_also_where_conntrack_reports_none(netns: &TestNetns) {
    netns.require_ftp_helper();
    let master =
        |port| Flow { helper: Some(HelperName::new(b"ftp")), ..flow(Protocol::Tcp, L4::Ports { src: port, dst: 21 }) };
    let add = |port: u16, dport: u16| {
        let (tuple, master) = (format!("192.0.2.1:{dport}"), format!("tcp 10.0.0.1:{port} 192.0.2.1:21"));
        netns.ctnl(&["expect", "add", "tcp", "10.0.0.1:0", &tuple, "--master", &master]).exits_with(0);
    };
    netns.set_sysctl("netfilter/nf_conntrack_events", 0);
    netns.create(&[master(40_000)]);
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let theirs = ConntrackMonitor::new(&["expect"]);
    let ours = ConntrackMonitor::of(netns.ctnl_command(&["expect", "events", "-q", "-o", "conntrack", "--no-seed"]));
    wait_for_listeners(2);
    netns.create(&[master(40_001)]);
    add(40_001, 4001);
    let new = theirs.next();
    // A tick may pass between the insertion and the event.
    let left = ["    [NEW] 300 proto=6 ", "    [NEW] 299 proto=6 "];
    assert!(left.iter().any(|left| new.starts_with(left)) && new.contains("dport=4001 "), "{new}");
    assert_eq!(ours.next(), new);
    netns.ctnl(&["expect", "delete", new.trim_start().trim_start_matches("[NEW] ")]).exits_with(0);
    let destroyed = theirs.next();
    assert!(destroyed.starts_with("[DESTROY] "), "{destroyed}");
    assert_eq!(ours.next(), destroyed);
    add(40_000, 4000);
    let found = ours.next();
    assert!(found.contains("[NEW]") && found.contains("dport=4000 ") && found.ends_with(" [RECONCILE]"), "{found}");
    // Conntrack did not report that one.
    add(40_001, 4002);
    assert!(theirs.next().contains("dport=4002 "));
}

fn expected(event: &ExpectationEvent) -> ExpectationRecord<'_> {
    let time = EventTime { ns: 1, clock: ClockSource::Received };
    let requester = Some(Requester { port: event.port, process: None, is_certain: false });
    let (kind, expectation) = (event.kind, &event.expectation);
    ExpectationRecord { kind, synthetic: None, time, expectation, requester, netns: None }
}

/// One line of each kind, around names that try to break out.
fn every_kind(events: &[Event], expectations: &[ExpectationEvent]) -> String {
    let text = "\"\\\n\r\t\u{1}\u{7f}\u{85}é\u{2028}\u{1f600}";
    let name = Some(text);
    let (mut writer, mut out, mut seq) =
        (JSON.event_writer(WriterOptions::default()).expect("json"), Vec::new(), 1 << 53);
    let fields = vec![("field".to_owned(), text.to_owned())];
    writer.set_context(&LineContext {
        stream: text.to_owned(),
        host: Some(text.to_owned()),
        fields,
        ..LineContext::default()
    });
    let mut write = |record: Record<'_>| {
        seq += 1;
        assert!(writer.record(&mut out, seq, &record));
    };
    write(Record::Open(OpenRecord { time: 1, version: text }));
    let estimator = IdleEstimator::without_timeouts(0);
    let (netns, requester) = (name, Some(Requester { port: u32::MAX, process: name, is_certain: false }));
    for event in events {
        let subject = &Subject::new(&event.flow, &estimator);
        let start = Some(StartTime::Before(u64::MAX));
        write(Record::Flow(FlowRecord { netns, requester, start, killed: Some(true), ..plain(event, subject) }));
        let end = EventTime { ns: u64::MAX, clock: ClockSource::Kernel };
        let (start, killed, is_mark_implied) = (Some(StartTime::Exact(1)), Some(false), event.is_mark_implied);
        let (flow, synthetic, time) = (&event.flow, None, end);
        let last_packet = Some(LastPacket { after: Some(0), before: u64::MAX });
        let ended = EndRecord { flow, start, end, last_packet, synthetic, killed, requester, netns, is_mark_implied };
        write(Record::End(ended));
        write(Record::Begin(BeginRecord { flow, start, time, synthetic, requester, netns, is_mark_implied }));
    }
    for event in expectations {
        write(Record::Expectation(ExpectationRecord { netns, ..expected(event) }));
    }
    write(Record::Gap(GapRecord { cause: GapCause::Spool, lost: Some(u64::MAX), from: 0, to: 1, netns }));
    let reason = SyntheticCause::Reconcile;
    write(Record::Resync(ResyncRecord { reason, time: 1, entries: Some(2), added: 3, removed: 4, netns }));
    let oldest = Some(WaitingLine { stream: text.to_owned(), seq: u64::MAX, written_after: Some(1) });
    let sink = SinkState { name: text.to_owned(), oldest, why: Some(text.to_owned()), ..SinkState::default() };
    let sysctls = &[SysctlGroup { netns: vec![text.to_owned(); 2], ..SysctlGroup::default() }];
    let (stream, sinks) = (&StreamSnapshot::default(), &[sink]);
    write(Record::Heartbeat(HeartbeatRecord { time: 1, interval: u64::MAX, stream, sinks, sysctls }));
    write(Record::Close(CloseRecord { time: 1, reason: text, received: 2, lost: 3, uncounted_losses: 0, records: 4 }));
    String::from_utf8(out).expect("UTF-8")
}

pub fn jq(filter: &str, input: &str) -> String {
    let mut command = Command::new("jq");
    command.args(["-c", "-r", filter]);
    output_of(command, input)
}

/// The output of a command with this input.
fn output_of(mut command: Command, input: &str) -> String {
    command.env_clear().env("PATH", PATH).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("its input");
    let input = input.to_owned();
    let feeder = thread::spawn(move || stdin.write_all(input.as_bytes()).expect("feed it"));
    let output = child.wait_with_output().expect("its output");
    feeder.join().expect("the feeder");
    Run::new(&command, output).exits_with(0).stdout()
}

fn jq_parses_every_kind_of_line(netns: &TestNetns) {
    let net = Net::new(netns);
    nft(RULES);
    let socket = listener();
    make_events(netns, &net);
    let (events, expectations) = received(&socket);
    let lines = every_kind(&events, &expectations);
    let kinds: Vec<String> = jq(".event", &lines).lines().map(str::to_owned).collect();
    assert_eq!(kinds.len(), lines.lines().count(), "a line is a value, and a value is a line");
    for kind in ["open", "new", "update", "destroy", "end", "expect-new", "expect-destroy", "gap", "resync", "close"] {
        assert!(kinds.iter().any(|found| found == kind), "{kind}");
    }
    let names = jq("select(.netns) | .netns | explode | length", &lines);
    assert!(names.lines().count() > 10 && names.lines().all(|length| length == "11"), "{names}");
    let nat = "select(.event == \"end\" and .nat_src == \"10.2.0.1\") | .src";
    assert!(jq(nat, &lines).lines().any(|src| src == "10.1.0.2"), "{lines}");
}

/// Each command of docs/events.md, on lines as `ctnl events` writes them.
fn the_documented_jq_commands_print_results(netns: &TestNetns) {
    let net = Net::new(netns);
    nft(RULES);
    let socket = listener();
    make_events(netns, &net);
    let (events, expectations) = received(&socket);
    let mut lines = every_kind(&events, &expectations);
    let documentation = include_str!("../../docs/events.md");
    // What is shown there is read too, its lines put together again.
    for block in blocks(documentation, "json") {
        lines.push_str(&jq(".", &block));
    }
    let mut commands = 0;
    for command in blocks(documentation, "sh").iter().flat_map(|block| block.split("\n\n")) {
        let (program, command) = command.split_once(" | ").expect("a pipe");
        assert!(program.starts_with("ctnl events") && command.starts_with("jq "), "{command}");
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        assert!(!output_of(shell, &lines).trim().is_empty(), "{command}");
        commands += 1;
    }
    assert_eq!(commands, 5);
}

/// The programs of docs/mappings.md, on recorded events, the documented lines and one of every kind.
fn the_documented_mappings_keep_every_connection(netns: &TestNetns) {
    let net = Net::new(netns);
    let socket = listener();
    make_events(netns, &net);
    let (events, expectations) = received(&socket);
    let mut lines = every_kind(&events, &expectations);
    for block in blocks(include_str!("../../docs/events.md"), "json") {
        lines.push_str(&jq(".", &block));
    }
    let field = |filter: &str, input: &str| jq(filter, input).lines().map(str::to_owned).collect::<Vec<_>>();
    let connections = "select(.event == \"begin\" or .event == \"end\") | ";
    let ids = field(&format!("{connections} .line_id | tojson"), &lines);
    let ends = field(&format!("{connections} [.src, .nat_src, .dport] | tojson"), &lines);
    assert!(ids.len() > 4 && ends.iter().any(|end| end.contains("203.0.113.5")), "{ends:?}");
    let programs = blocks(include_str!("../../docs/mappings.md"), "jq");
    let attribute = |key: &str| {
        format!("(map(select(.key == \"{key}\"))[0].value | .stringValue // (.intValue // null | tonumber? // null))")
    };
    let records = ".resourceLogs[0].scopeLogs[0].logRecords[0].attributes";
    let [source, nat, port, uid] =
        ["source.address", "ctnl.nat.source.address", "destination.port", "log.record.uid"].map(attribute);
    let expected = [
        (".event.id".to_owned(), "[.source.ip, .source.nat.ip, .destination.port]".to_owned()),
        (".metadata.uid".to_owned(), "[.src_endpoint.ip, .unmapped.nat_src, .dst_endpoint.port]".to_owned()),
        (format!("{records} | {uid}"), format!("{records} | [{source}, {nat}, {port}]")),
    ];
    assert_eq!(programs.len(), expected.len());
    for (program, (id, connection)) in programs.iter().zip(expected) {
        let mapped = jq(program, &lines);
        assert_eq!(field(&format!("{id} | tojson"), &mapped), ids, "{program}");
        assert_eq!(field(&format!("{connection} | tojson"), &mapped), ends, "{program}");
        let mapped = jq(program, ODD_RECORD);
        for number in 900_001..=900_014 {
            assert!(mapped.contains(&number.to_string()), "{number}: {mapped}");
        }
        assert!(mapped.contains("after") && mapped.contains("a value"), "{mapped}");
    }
}

/// Bounds instead of exact times, zones, GRE, a requester, and a key of a later version: each has a number of its own.
const ODD_RECORD: &str = r#"{"v":1,"host":"h","stream":"s","line_id":"s-900001","seq":900001,"event":"end",
    "time_ns":1700000123000000000,"clock":"received","synthetic":"resync","requester":{"port":900002,"process":"p"},
    "since_ns":900003,"since_clock":"received","since":"after","duration_at_most_ns":900004,
    "last_packet_before_ns":900005,"family":"ipv4","proto":47,"src":"192.0.2.2","dst":"192.0.2.3",
    "srckey":900006,"dstkey":900007,"nat_src":"192.0.2.4","nat_srckey":900008,"packets_orig":900009,
    "mark":900010,"zone":900011,"zone_orig":900012,"zone_reply":900013,"of_a_later_version":900014,
    "fields":{"key":"a value"}}"#;

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned()).collect()
}
