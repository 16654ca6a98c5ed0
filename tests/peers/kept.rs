//! A JetStream server that has lost what it acknowledged, as after a power loss: its store is replaced by an
//! older copy. With `--spool-keep` every line is there again, once; without it, the loss is reported.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ctnl::clock::Clock;

use crate::cluster::{Client, Cluster, SUBJECT, Stored};
use ctnl_test_support::chunk::{Chunk, Outlet};
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::sink::{Rotation, SinkOptions, Sinks, SyncPolicy, SyslogHeader, TlsFiles};

tests![
    lines_that_a_server_lost_after_it_acknowledged_them_are_stored_again_once,
    lost_lines_are_stored_again_when_the_program_was_restarted_meanwhile,
    lost_lines_are_stored_again_although_others_have_got_their_numbers,
    a_stream_that_is_created_anew_gets_the_kept_lines,
    without_kept_lines_the_loss_is_reported_and_the_stream_goes_on,
    a_stream_that_was_purged_on_purpose_gets_no_line_again,
    a_user_without_the_right_to_look_up_messages_gets_every_kept_line_again,
];

/// Far longer than anything here takes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Lines of a chunk.
const LINES: u64 = 50;

fn options(folder: &Path, keep: bool) -> SinkOptions {
    SinkOptions {
        queue_max: 1 << 20,
        spool: Some(folder.to_owned()),
        spool_max: 64 << 20,
        spool_keep: keep.then_some(Duration::from_secs(300)),
        rotation: Rotation { size: None, every: None, keep: 1 },
        compression: None,
        sync: SyncPolicy::Never,
        syslog: SyslogHeader::new(3, 6, "h"),
        nats_credentials: None,
        tls: TlsFiles::default(),
        header: Arc::default(),
        is_own_line: Arc::new(|_| true),
        clock: Clock::system(),
        format_gap: Arc::new(|gap| format!("gap {} {}\n", gap.first, gap.lines).into()),
    }
}

/// The program's part of the test: chunks of one stream, numbered from 1.
struct Program {
    sinks: Sinks,
    next: u64,
    warnings: Vec<String>,
}

impl Program {
    fn start(to: &str, folder: &Path, keep: bool, next: u64) -> Self {
        let sinks = Sinks::open(&[to.parse().unwrap()], &options(folder, keep)).unwrap();
        Program { sinks, next, warnings: Vec::new() }
    }

    /// Sends chunks, and waits until they are acknowledged. Without chunks, waits a moment.
    fn send(&mut self, chunks: u64) {
        for _ in 0..chunks {
            let bytes: String = (self.next..self.next + LINES).map(|number| format!("line {number}\n")).collect();
            let (stream, first) = ("run-1".into(), self.next);
            self.sinks.put(Arc::new(Chunk { stream, first, lines: LINES as u32, bytes: bytes.into() }));
            self.next += LINES;
        }
        self.until("acknowledged", |sinks| {
            sinks.statistics().iter().all(|sink| sink.queued == 0 && sink.spooled == 0 && sink.down_since.is_none())
        });
    }

    fn until(&mut self, what: &str, condition: impl Fn(&Sinks) -> bool) {
        let start = Instant::now();
        while !condition(&self.sinks) {
            assert!(start.elapsed() < TIMEOUT, "not {what}: {:?}", self.sinks.statistics());
            thread::sleep(Duration::from_millis(20));
            self.warnings.extend(self.sinks.take_warnings());
        }
        self.warnings.extend(self.sinks.take_warnings());
    }

    fn end(mut self) -> u64 {
        assert_eq!(self.sinks.finish(Duration::from_secs(10)), []);
        self.next
    }
}

/// The server of one stream, and a copy of its store.
struct Server {
    cluster: Cluster,
    client: Client,
    copy: tempfile::TempDir,
    login: Option<(&'static str, &'static str)>,
}

impl Server {
    /// The stream forgets ids after a second, so that only the program prevents repeated lines.
    fn start() -> Self {
        let cluster = Cluster::start(1);
        let client = cluster.client();
        client.make_stream(1, |config| config.duplicate_window = Duration::from_secs(1));
        Server { cluster, client, copy: tempfile::tempdir().unwrap(), login: None }
    }

    fn to(&self) -> String {
        format!("nats:{}/{SUBJECT}", self.cluster.servers())
    }

    /// Stops it, calls `change` with its store, and starts it again.
    fn restart(&mut self, change: impl FnOnce(&Cluster, &Path)) {
        self.cluster.kill(0);
        change(&self.cluster, &self.copy.path().join("store"));
        self.cluster.restart(0);
        // The old one would wait for what it had asked for.
        self.client = if let Some((user, password)) = self.login {
            self.cluster.client_as(user, password)
        } else {
            self.cluster.client()
        };
    }

    fn save(&mut self) {
        self.restart(|cluster, copy| cluster.copy_store(0, copy, false));
    }

    fn go_back(&mut self) {
        self.restart(|cluster, copy| cluster.copy_store(0, copy, true));
        self.client.count();
    }

    /// Waits until this many messages are stored.
    fn until_stored(&self, messages: u64) -> Vec<Stored> {
        let start = Instant::now();
        while self.client.count() < messages && start.elapsed() < TIMEOUT {
            thread::sleep(Duration::from_millis(50));
        }
        // More would be a mistake too.
        thread::sleep(Duration::from_secs(1));
        self.client.messages()
    }
}

/// Fails unless the lines up to `last` are stored, each once and in order.
#[track_caller]
fn assert_once_and_in_order(stored: &[Stored], last: u64) {
    let expected = |index: u64| (format!("line {}", index + 1), format!("run-1-{}", index + 1));
    let found = stored.iter().map(|stored| (stored.payload.clone(), stored.id.clone()));
    let others: Vec<_> = found.zip(0..).filter(|(found, index)| *found != expected(*index)).take(3).collect();
    assert!(stored.len() as u64 == last && others.is_empty(), "{} of {last}: {others:?}", stored.len());
}

fn has_reported_a_loss(program: &Program) -> bool {
    program.warnings.iter().any(|warning| warning.contains("has lost lines that it had acknowledged"))
}

fn lines_that_a_server_lost_after_it_acknowledged_them_are_stored_again_once(_: &TestNetns) {
    let (mut server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut program = Program::start(&server.to(), folder.path(), true, 1);
    program.send(10);
    let next = program.end();
    // The copy has the beginning of a chunk that is sent later.
    let before = tempfile::tempdir().unwrap();
    server.restart(|cluster, _| cluster.copy_store(0, &before.path().join("store"), false));
    (501..=520).for_each(|number| server.client.publish(&format!("run-1-{number}"), &format!("line {number}")));
    server.save();
    server.restart(|cluster, _| cluster.copy_store(0, &before.path().join("store"), true));
    let mut program = Program::start(&server.to(), folder.path(), true, next);
    program.send(10);
    assert_once_and_in_order(&server.until_stored(20 * LINES), 20 * LINES);
    server.go_back();
    program.send(3);
    assert_once_and_in_order(&server.until_stored(23 * LINES), 23 * LINES);
    assert!(has_reported_a_loss(&program), "{:?}", program.warnings);
    // Once more, and without a line behind the loss.
    server.go_back();
    assert_once_and_in_order(&server.until_stored(23 * LINES), 23 * LINES);
    program.send(1);
    assert_once_and_in_order(&server.until_stored(24 * LINES), 24 * LINES);
    program.end();
}

fn lost_lines_are_stored_again_when_the_program_was_restarted_meanwhile(_: &TestNetns) {
    let (mut server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut program = Program::start(&server.to(), folder.path(), true, 1);
    program.send(4);
    server.save();
    program.send(6);
    let next = program.end();
    server.go_back();
    let mut program = Program::start(&server.to(), folder.path(), true, next);
    program.send(2);
    assert_once_and_in_order(&server.until_stored(12 * LINES), 12 * LINES);
    assert!(has_reported_a_loss(&program), "{:?}", program.warnings);
    // A run that keeps nothing uses what an earlier one has kept.
    let next = program.end();
    server.go_back();
    let mut program = Program::start(&server.to(), folder.path(), false, next);
    assert_once_and_in_order(&server.until_stored(12 * LINES), 12 * LINES);
    program.send(1);
    program.end();
}

fn lost_lines_are_stored_again_although_others_have_got_their_numbers(_: &TestNetns) {
    let (mut server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut program = Program::start(&server.to(), folder.path(), true, 1);
    program.send(4);
    server.save();
    program.send(4);
    let next = program.end();
    server.go_back();
    (0..250).for_each(|number| server.client.publish(&format!("other-{number}"), "other"));
    let mut program = Program::start(&server.to(), folder.path(), true, next);
    program.send(1);
    let stored = server.until_stored(9 * LINES + 250);
    let own: Vec<Stored> = stored.iter().filter(|stored| stored.payload != "other").cloned().collect();
    assert_eq!(stored.len(), own.len() + 250);
    assert_once_and_in_order(&own, 9 * LINES);
    program.end();
}

fn a_stream_that_is_created_anew_gets_the_kept_lines(_: &TestNetns) {
    let (mut server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut program = Program::start(&server.to(), folder.path(), true, 1);
    program.send(5);
    server.client.delete_stream();
    server.client.make_stream(1, |_| {});
    server.restart(|_, _| {});
    program.send(1);
    assert_once_and_in_order(&server.until_stored(6 * LINES), 6 * LINES);
    // Without a reconnect, the number of the next line shows it. That line is stored first, then.
    server.client.delete_stream();
    server.client.make_stream(1, |_| {});
    program.send(1);
    let stored = server.until_stored(7 * LINES);
    let (next, before) = stored.split_at(LINES as usize);
    assert_once_and_in_order(&[before, next].concat(), 7 * LINES);
    assert_eq!(program.warnings.len(), 2, "{:?}", program.warnings);
    program.end();
}

fn without_kept_lines_the_loss_is_reported_and_the_stream_goes_on(_: &TestNetns) {
    let (mut server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut program = Program::start(&server.to(), folder.path(), false, 1);
    program.send(2);
    server.save();
    program.send(2);
    server.go_back();
    program.send(2);
    let stored = server.until_stored(4 * LINES);
    assert_eq!(stored.len() as u64, 4 * LINES);
    assert!(has_reported_a_loss(&program), "{:?}", program.warnings);
    assert_eq!(program.warnings.len(), 1, "{:?}", program.warnings);
    program.end();
}

fn a_stream_that_was_purged_on_purpose_gets_no_line_again(_: &TestNetns) {
    let (mut server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut program = Program::start(&server.to(), folder.path(), true, 1);
    program.send(2);
    server.client.purge_stream();
    server.restart(|_, _| {});
    program.send(1);
    assert_eq!(server.until_stored(LINES).len() as u64, LINES);
    assert_eq!(program.warnings, [] as [&str; 0]);
    program.end();
}

fn a_user_without_the_right_to_look_up_messages_gets_every_kept_line_again(_: &TestNetns) {
    let configuration = "jetstream { store_dir: $STORE }\nauthorization { users: [
            { user: admin, password: \"a\" },
            { user: me, password: \"b\", permissions: { publish: \"ctnl.events\", subscribe: \"_INBOX.>\" } }
        ] }";
    let cluster = Cluster::with(1, configuration);
    let client = cluster.client_as("admin", "a");
    client.make_stream(1, |_| {});
    let mut server = Server { cluster, client, copy: tempfile::tempdir().unwrap(), login: Some(("admin", "a")) };
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start(&format!("nats:nats://me:b@127.0.0.1:4220/{SUBJECT}"), folder.path(), true, 1);
    program.send(2);
    server.save();
    program.send(2);
    server.go_back();
    program.send(1);
    // The stream's window drops those that it has.
    let mut stored = server.until_stored(5 * LINES);
    stored.sort_by_key(|stored| stored.payload.trim_start_matches("line ").parse::<u64>().unwrap());
    assert_once_and_in_order(&stored, 5 * LINES);
    assert!(
        program.warnings.iter().any(|warning| warning.contains("$JS.API.STREAM.MSG.GET.EVENTS")),
        "{:?}",
        program.warnings
    );
    assert!(has_reported_a_loss(&program), "{:?}", program.warnings);
    program.end();
}
