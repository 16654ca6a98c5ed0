//! Servers that are killed in mid-stream.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Folder, Running, Traffic, account, finished, lines, number, parse, udp_flows, until};
use crate::cluster::{Client, Cluster, SUBJECT};
use crate::syslog::{PORT, Rsyslog};
use ctnl_test_support::harness::{TestNetns, tests};

tests![
    every_event_is_in_jetstream_once_although_servers_and_the_program_stop_in_mid_stream,
    rsyslog_gets_every_event_over_tcp_although_it_is_killed_in_mid_stream,
    rsyslog_gets_every_event_over_its_socket_although_it_is_killed_in_mid_stream,
    a_socket_reader_gets_every_event_although_it_is_killed_in_mid_stream,
    each_connection_begins_with_the_column_names,
    lines_that_are_too_long_for_a_stream_become_gaps_in_it,
];

fn every_event_is_in_jetstream_once_although_servers_and_the_program_stop_in_mid_stream(netns: &TestNetns) {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    client.make_stream(3, |_| {});
    let folder = Folder::new();
    let (file, nats, spool) =
        (folder.spec("file", "log"), format!("nats:{}/{SUBJECT}", cluster.servers()), folder.text("spool"));
    let arguments = ["--no-seed", "--to", &file, "--to", &nats, "--spool", &spool];
    let mut traffic = Traffic::new(netns, folder.path("log"));

    let running = Running::start(netns, &arguments);
    traffic.make(20);
    until("messages", || client.count() > 500);
    let leader = client.leader();
    cluster.kill(leader);
    traffic.make(20);
    cluster.restart(leader);
    traffic.make(10);
    wait_for_all(&client, &folder);
    (0..3).for_each(|node| cluster.kill(node));
    traffic.make(10);
    let stderr = running.stop();
    assert!(stderr.contains("left in the spool for the next run"), "{stderr}");

    let first = finished(&folder.path("log")).len();
    let running = Running::start(netns, &arguments);
    traffic.make(10);
    (0..3).for_each(|node| cluster.restart(node));
    wait_for_all(&client, &folder);
    running.stop();
    wait_for_all(&client, &folder);
    let written = finished(&folder.path("log"));
    assert_eq!((account(&written[..first]), account(&written[first..])), ((6000, 0), (1000, 0)));
    let stored = client.messages();
    let ids: BTreeSet<&str> = stored.iter().map(|stored| &*stored.id).collect();
    assert_eq!((ids.len(), stored.len()), (written.len(), written.len()));
    let stored: BTreeSet<&str> = stored.iter().map(|stored| &*stored.payload).collect();
    assert_eq!(stored, written.iter().map(|line| &**line).collect());
}

/// Waits until as many messages are stored as lines were written.
fn wait_for_all(client: &Client, folder: &Folder) {
    until("message of each line", || client.count() >= lines(&folder.path("log")).len() as u64);
}

fn rsyslog_gets_every_event(netns: &TestNetns, spec: impl Fn(&Rsyslog) -> String) {
    ctnl_test_support::net::ip("link set lo up");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("the host's name");
    let mut rsyslog = Rsyslog::new(host.trim());
    let folder = Folder::new();
    let (file, spool, spec) = (folder.spec("file", "log"), folder.text("spool"), spec(&rsyslog));
    let arguments =
        ["--no-seed", "--to", &file, "--to", &spec, "--spool", &spool, "--syslog-priority", "local0.notice"];
    let running = Running::start(netns, &arguments);
    let mut traffic = Traffic::new(netns, folder.path("log"));
    traffic.make(20);
    rsyslog.waits_for(500);
    rsyslog.kill();
    traffic.make(20);
    rsyslog.start_again();
    traffic.make(10);
    rsyslog.waits_for(5001);
    running.stop();
    let written = finished(&folder.path("log"));
    assert_eq!(account(&written), (5000, 0));
    rsyslog.waits_for(written.len() as u64);
    assert!(rsyslog.received().keys().copied().eq(1..=written.len() as u64));
}

fn rsyslog_gets_every_event_over_tcp_although_it_is_killed_in_mid_stream(netns: &TestNetns) {
    rsyslog_gets_every_event(netns, |_| format!("syslog:tcp:127.0.0.1:{PORT}"));
}

fn rsyslog_gets_every_event_over_its_socket_although_it_is_killed_in_mid_stream(netns: &TestNetns) {
    rsyslog_gets_every_event(netns, |rsyslog| format!("syslog:{}", rsyslog.socket().display()));
}

/// Accepts connections and reads lines until it is stopped; the rest is discarded.
pub struct Receiver {
    path: PathBuf,
    ends: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    texts: Arc<std::sync::Mutex<Vec<Vec<u8>>>>,
}

impl Receiver {
    pub fn new(path: &Path) -> Self {
        let mut receiver =
            Receiver { path: path.to_owned(), ends: Arc::default(), reader: None, texts: Arc::default() };
        receiver.start();
        receiver
    }

    pub fn start(&mut self) {
        let listener = UnixListener::bind(&self.path).expect("a socket");
        listener.set_nonblocking(true).expect("non-blocking");
        self.ends.store(false, Ordering::Relaxed);
        let (ends, texts) = (Arc::clone(&self.ends), Arc::clone(&self.texts));
        self.reader = Some(thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => read(stream, &ends, &texts),
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        }));
    }

    pub fn end(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.reader.take().into_iter().for_each(|reader| reader.join().expect("the reader"));
        let _ = fs::remove_file(&self.path);
    }

    /// Stops it as if its process was killed: it had not processed what it read last.
    fn die(&mut self) {
        self.end();
        let mut texts = self.texts.lock().expect("the texts");
        let text = texts.last_mut().expect("a connection");
        text.truncate(text.len().saturating_sub(20_000));
    }

    /// The whole lines of each connection.
    pub fn connections(&self) -> Vec<Vec<String>> {
        let texts = self.texts.lock().expect("the texts");
        let whole = |text: &Vec<u8>| {
            let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            String::from_utf8(text[..end].to_vec()).expect("UTF-8").lines().map(str::to_owned).collect()
        };
        texts.iter().map(whole).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.end();
    }
}

fn read(mut stream: UnixStream, ends: &AtomicBool, texts: &std::sync::Mutex<Vec<Vec<u8>>>) {
    stream.set_nonblocking(false).expect("blocking");
    stream.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
    texts.lock().expect("the texts").push(Vec::new());
    let mut piece = vec![0; 5000];
    while !ends.load(Ordering::Relaxed) {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => texts.lock().expect("the texts").last_mut().expect("a text").extend(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn a_socket_reader_gets_every_event_although_it_is_killed_in_mid_stream(netns: &TestNetns) {
    let folder = Folder::new();
    let mut receiver = Receiver::new(&folder.path("socket"));
    let (file, unix, spool) = (folder.spec("file", "log"), folder.spec("unix", "socket"), folder.text("spool"));
    let running = Running::start(netns, &["--no-seed", "--to", &file, "--to", &unix, "--spool", &spool]);
    let mut traffic = Traffic::new(netns, folder.path("log"));
    traffic.make(20);
    until("line", || receiver.connections().iter().flatten().count() > 500);
    receiver.die();
    traffic.make(20);
    receiver.start();
    traffic.make(10);
    let received = || -> BTreeMap<u64, String> {
        let lines = receiver.connections().into_iter().flatten();
        lines.map(|line| (number(&parse(&line), "seq"), line)).collect()
    };
    until("line of each event", || received().len() > 5000);
    running.stop();
    let written = finished(&folder.path("log"));
    assert_eq!(account(&written), (5000, 0));
    until("line of each event", || received().len() >= written.len());
    assert!(received().into_values().eq(written));
}

fn each_connection_begins_with_the_column_names(netns: &TestNetns) {
    let folder = Folder::new();
    let mut receiver = Receiver::new(&folder.path("socket"));
    let (file, unix) = (folder.spec("file", "log"), folder.spec("unix", "socket"));
    let running = Running::start(netns, &["--no-seed", "-o", "csv", "--to", &file, "--to", &unix]);
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let seen = |connections: usize, flows: u16| {
        move |receiver: &Receiver| {
            let seen = receiver.connections();
            seen.len() == connections && (1000..1000 + flows).all(|port| has_port(&seen, port))
        }
    };
    netns.create(&udp_flows(1000, 50));
    until("lines", || seen(1, 50)(&receiver));
    receiver.end();
    receiver.start();
    netns.create(&udp_flows(1050, 50));
    until("lines", || seen(2, 100)(&receiver));
    running.stop();
    let written = finished(&folder.path("log"));
    for connection in receiver.connections() {
        assert_eq!(connection[0], written[0]);
        assert!(connection[1..].iter().all(|line| *line != written[0]));
    }
    assert!(written[0].starts_with("event,seq,") && written[1].starts_with("new,1,"), "{written:?}");
}

fn lines_that_are_too_long_for_a_stream_become_gaps_in_it(netns: &TestNetns) {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    // A gap record is shorter than that, and the record of an entry longer.
    client.make_stream(1, |config| config.max_message_size = 300);
    let folder = Folder::new();
    let (file, nats) = (folder.spec("file", "log"), format!("nats:{}/{SUBJECT}", cluster.servers()));
    let running = Running::start(netns, &["--no-seed", "--to", &file, "--to", &nats]);
    let mut traffic = Traffic::new(netns, folder.path("log"));
    traffic.make(5);
    let stderr = running.stop();
    assert_eq!(account(&finished(&folder.path("log"))), (500, 0));
    let mut stored: Vec<_> = client.messages().iter().map(|stored| parse(&stored.payload)).collect();
    stored.sort_by_key(|record| number(record, "seq"));
    let mut next = 1;
    for record in &stored {
        assert_eq!(number(record, "seq"), next, "{record}");
        let is_gap = record["event"] == "gap" && record["cause"] == "refused";
        assert!(is_gap || record["event"] == "open" || record["event"] == "close", "{record}");
        next += if is_gap { number(record, "lost") } else { 1 };
    }
    assert_eq!(next, 503);
    assert!(stderr.contains("500 lines dropped in total"), "{stderr}");
}

fn has_port(connections: &[Vec<String>], port: u16) -> bool {
    connections.iter().flatten().any(|line| line.split(',').any(|cell| cell == port.to_string()))
}
