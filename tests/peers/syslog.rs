//! Debian's rsyslogd as the receiver: it parses the headers (RFC 5424) and the lines (JSON), and is
//! killed in mid-stream.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ctnl::clock::Clock;

use ctnl_test_support::chunk::{Chunk, Outlet};
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::PATH;
use ctnl_test_support::sink::{Rotation, SinkOptions, Sinks, SyncPolicy, SyslogHeader, TlsFiles};

tests![
    rsyslog_gets_every_line_over_tcp_although_it_is_killed_in_mid_stream,
    rsyslog_gets_every_line_over_its_socket_although_it_is_killed_in_mid_stream,
];

const LONG: Duration = Duration::from_secs(60);
pub const PORT: u16 = 6514;
const LINES: u64 = 20_000;

/// A daemon with its files in a folder. Each run writes a file of its own: a killed one leaves a
/// partial line.
pub struct Rsyslog {
    folder: tempfile::TempDir,
    child: Child,
    runs: u32,
    host: String,
}

impl Rsyslog {
    /// Starts it. It expects messages from this host.
    pub fn new(host: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = start(folder.path(), 1);
        Rsyslog { folder, child, runs: 1, host: host.to_owned() }
    }

    pub fn start_again(&mut self) {
        self.runs += 1;
        self.child = start(self.folder.path(), self.runs);
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How often each line was received, by its number in the JSON. Checks each header.
    pub fn received(&self) -> BTreeMap<u64, u32> {
        let path = |run| self.folder.path().join(format!("out{run}"));
        let texts: String = (1..=self.runs).map(|run| whole_lines(&path(run))).collect();
        let mut numbers = BTreeMap::new();
        for line in texts.lines() {
            let (number, rest) = line.split_once(' ').unwrap();
            let number = number.parse().unwrap();
            let (event, header) = rest.split_once(' ').unwrap();
            assert!(event.chars().all(|char| char.is_ascii_lowercase()) && !event.is_empty(), "{line}");
            let expected = format!("OK local0.notice ctnl {} event [meta sequenceId=\"{number}\"]", self.host);
            assert_eq!(header, expected);
            *numbers.entry(number).or_default() += 1;
        }
        numbers
    }

    pub fn waits_for(&self, count: u64) {
        let end = Instant::now() + LONG;
        while (self.received().len() as u64) < count {
            assert!(Instant::now() < end, "{} of {count} lines received", self.received().len());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.kill();
    }
}

fn whole_lines(path: &Path) -> String {
    let mut text = fs::read_to_string(path).unwrap_or_default();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    text
}

fn start(folder: &Path, run: u32) -> Child {
    fs::write(folder.join("conf"), config(folder, run)).unwrap();
    // A killed one leaves it.
    let _ = fs::remove_file(folder.join("pid"));
    let log = fs::File::create(folder.join("stderr")).unwrap();
    let mut command = Command::new("rsyslogd");
    command.args(["-n", "-f"]).arg(folder.join("conf")).arg("-i").arg(folder.join("pid")).env("PATH", PATH);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().expect("rsyslogd cannot be started: apt-get install rsyslog")
}

/// mmjsonparse expects a cookie before the JSON by default; imuxsock by default parses the format
/// of the C library's syslog(3).
fn config(folder: &Path, run: u32) -> String {
    let folder = folder.display();
    let facts = "%$!seq% %$!event% %parsesuccess% %syslogfacility-text%.%syslogseverity-text% %app-name% \
                 %hostname% %msgid% %structured-data%\\n";
    format!(
        r#"global(workDirectory="{folder}")
module(load="imtcp")
module(load="imuxsock" SysSock.Use="off")
module(load="mmjsonparse")
template(name="facts" type="string" string="{facts}")
ruleset(name="all") {{
    action(type="mmjsonparse" cookie="")
    action(type="omfile" file="{folder}/out{run}" template="facts")
}}
input(type="imtcp" address="127.0.0.1" port="{PORT}" ruleset="all")
input(type="imuxsock" Socket="{folder}/log" UseSpecialParser="off" ParseHostname="on" ruleset="all")
"#
    )
}

fn options(spool: &Path) -> SinkOptions {
    SinkOptions {
        queue_max: 1 << 20,
        spool: Some(spool.to_owned()),
        spool_max: 64 << 20,
        spool_keep: None,
        rotation: Rotation { size: None, every: None, keep: 1 },
        compression: None,
        sync: SyncPolicy::Never,
        syslog: SyslogHeader { facility: 16, severity: 5, app: "ctnl".into(), host: "host.example".into() },
        nats_credentials: None,
        tls: TlsFiles::default(),
        header: Arc::default(),
        is_own_line: Arc::new(|_| true),
        clock: Clock::system(),
        format_gap: Arc::new(|gap| panic!("{gap:?}")),
    }
}

fn chunk(first: u64) -> Arc<Chunk> {
    let bytes =
        (first..first + 100).map(|seq| format!("{{\"v\":1,\"seq\":{seq},\"event\":\"new\"}}\n")).collect::<String>();
    Arc::new(Chunk { stream: "s".into(), first, lines: 100, bytes: bytes.into() })
}

fn every_line_is_received(spec: impl Fn(&Rsyslog) -> String) {
    ctnl_test_support::net::ip("link set lo up\n");
    let mut rsyslog = Rsyslog::new("host.example");
    let spool = tempfile::tempdir().unwrap();
    let mut sinks = Sinks::open(&[spec(&rsyslog).parse().unwrap()], &options(spool.path())).unwrap();
    let (one, two) = (LINES / 4, LINES / 2);
    let mut put = |range: std::ops::Range<u64>| range.step_by(100).for_each(|first| sinks.put(chunk(first + 1)));
    put(0..one);
    rsyslog.waits_for(one / 2);
    put(one..two);
    rsyslog.kill();
    put(two..LINES);
    rsyslog.start_again();
    rsyslog.waits_for(LINES);
    assert_eq!(sinks.finish(LONG), []);
    let received = rsyslog.received();
    assert!(received.keys().copied().eq(1..=LINES));
    let repeats: u32 = received.values().map(|times| times - 1).sum();
    eprintln!("{repeats} of {LINES} lines were repeated");
}

fn rsyslog_gets_every_line_over_tcp_although_it_is_killed_in_mid_stream(_: &TestNetns) {
    every_line_is_received(|_| format!("syslog:tcp:127.0.0.1:{PORT}"));
}

fn rsyslog_gets_every_line_over_its_socket_although_it_is_killed_in_mid_stream(_: &TestNetns) {
    every_line_is_received(|rsyslog| format!("syslog:{}", rsyslog.socket().display()));
}
