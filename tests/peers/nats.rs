//! Lines published to NATS JetStream are stored once, whichever servers are killed meanwhile.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::DiscardPolicy;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::cluster::{Client, Cluster, SUBJECT, Stored};
use ctnl_test_support::chunk::Chunk;
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::sink::TlsFiles;
use ctnl_test_support::sink::deliver::{Deliver, DeliveryError};
use ctnl_test_support::sink::nats::Nats;

tests![
    every_line_is_stored_once_when_the_leader_is_killed_and_when_the_others_are,
    every_line_is_stored_once_and_nearly_in_order_after_all_servers_were_killed,
    a_chunk_that_is_delivered_twice_is_stored_once,
    a_server_that_stops_and_starts_while_nothing_is_sent_is_detected,
    without_a_stream_the_error_says_how_to_make_one,
    a_full_stream_refuses_lines_and_nothing_is_lost,
    without_jetstream_the_error_says_so,
    a_password_is_required_and_never_shown,
    a_server_with_tls_is_verified_and_gets_the_client_certificate,
    a_line_that_is_too_long_is_counted_and_those_beside_it_are_stored,
];

/// Longer than three servers take to recover.
const TIMEOUT: Duration = Duration::from_secs(90);

fn publisher(rest: &str) -> Nats {
    Nats::new(rest, None, &TlsFiles::default(), |_| None).expect("an address")
}

fn to(cluster: &Cluster) -> Nats {
    publisher(&format!("{}/{SUBJECT}", cluster.servers()))
}

fn payload(number: u64) -> String {
    format!("{{\"seq\":{number},\"padding\":\"{:>200}\"}}", "")
}

fn chunk(first: u64, lines: u32) -> Chunk {
    let bytes = (first..).take(lines as usize).map(|number| payload(number) + "\n").collect::<String>();
    Chunk { stream: "boot-1".into(), first, lines, bytes: bytes.into_bytes() }
}

/// Delivers as the program does: repeats the chunk until it is accepted. Returns the errors.
fn deliver(nats: &mut Nats, chunk: &Chunk) -> Vec<DeliveryError> {
    let (start, mut errors) = (Instant::now(), Vec::new());
    while let Err(error) = nats.deliver(chunk) {
        assert!(start.elapsed() < TIMEOUT, "{error}");
        errors.push(error);
        thread::sleep(Duration::from_millis(100));
    }
    errors
}

/// Delivers some thousand lines a second until `done`. Returns their number.
fn stream(nats: &mut Nats, progress: &AtomicU64, done: &AtomicU64) -> (u64, Vec<DeliveryError>) {
    const LINES: u32 = 200;
    let (mut next, mut errors) = (1, Vec::new());
    while done.load(Ordering::Relaxed) == 0 {
        errors.extend(deliver(nats, &chunk(next, LINES)));
        next += u64::from(LINES);
        progress.store(next, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(20));
    }
    (next - 1, errors)
}

/// Waits until this many more lines are acknowledged.
fn wait_for(progress: &AtomicU64, more: u64) {
    let (start, from) = (Instant::now(), progress.load(Ordering::Relaxed));
    while progress.load(Ordering::Relaxed) < from + more {
        assert!(start.elapsed() < TIMEOUT, "no progress");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `disturb` while lines are published. Returns what is stored at the end.
fn disturbed(
    cluster: &mut Cluster,
    client: &Client,
    disturb: impl FnOnce(&mut Cluster, &AtomicU64),
) -> (u64, Vec<DeliveryError>, Vec<Stored>) {
    let (progress, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut nats = to(cluster);
    let (lines, errors) = thread::scope(|scope| {
        let stream = scope.spawn(|| stream(&mut nats, &progress, &done));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| disturb(cluster, &progress)));
        done.store(1, Ordering::Relaxed);
        let streamed = stream.join().expect("every line is acknowledged");
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        streamed
    });
    (lines, errors, client.messages())
}

/// Fails unless each line is stored once, under its own id.
#[track_caller]
fn assert_once(stored: &[Stored], lines: u64) {
    let mut sorted: Vec<(u64, &Stored)> = stored.iter().map(|stored| (number(stored), stored)).collect();
    sorted.sort_by_key(|(number, _)| *number);
    let numbers: Vec<u64> = sorted.iter().map(|(number, _)| *number).collect();
    assert!(numbers.iter().copied().eq(1..=lines), "{} of {lines}: {:?}", numbers.len(), gaps(&numbers));
    for (number, stored) in sorted {
        assert_eq!((&stored.payload, &stored.id), (&payload(number), &format!("boot-1-{number}")));
    }
}

fn number(stored: &Stored) -> u64 {
    let seq = stored.payload.trim_start_matches("{\"seq\":").split(',').next();
    seq.and_then(|seq| seq.parse().ok()).unwrap_or_else(|| panic!("{stored:?}"))
}

/// Pairs of consecutive numbers that are not adjacent.
fn gaps(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).map(|pair| (pair[0], pair[1])).take(10).collect()
}

/// One of the three is the stream's leader, one is the server that we are connected to.
fn every_line_is_stored_once_when_the_leader_is_killed_and_when_the_others_are(_: &TestNetns) {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    client.make_stream(3, |_| {});
    let (lines, errors, stored) = disturbed(&mut cluster, &client, |cluster, progress| {
        wait_for(progress, 1000);
        let leader = client.leader();
        cluster.kill(leader);
        wait_for(progress, 1000);
        cluster.restart(leader);
        let leader = client.leader();
        // Without a majority of servers nothing is acknowledged.
        let others = [(leader + 1) % 3, (leader + 2) % 3];
        others.iter().for_each(|node| cluster.kill(*node));
        thread::sleep(Duration::from_secs(1));
        others.iter().for_each(|node| cluster.restart(*node));
        wait_for(progress, 1000);
    });
    assert!(!errors.is_empty(), "one of the three was the connected one");
    assert_once(&stored, lines);
}

fn every_line_is_stored_once_and_nearly_in_order_after_all_servers_were_killed(_: &TestNetns) {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    client.make_stream(3, |_| {});
    let (lines, errors, stored) = disturbed(&mut cluster, &client, |cluster, progress| {
        wait_for(progress, 1000);
        (0..3).for_each(|node| cluster.kill(node));
        thread::sleep(Duration::from_secs(2));
        (0..3).for_each(|node| cluster.restart(node));
        wait_for(progress, 2000);
    });
    assert!(errors.iter().any(|error| error.reason.contains("cannot connect")), "{errors:?}");
    assert_once(&stored, lines);
    let numbers: Vec<u64> = stored.iter().map(number).collect();
    // Lines in flight when the servers died may be stored behind later lines that were stored before.
    let steps_back = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(steps_back <= 1, "{:?}", gaps(&numbers));
}

fn a_chunk_that_is_delivered_twice_is_stored_once(_: &TestNetns) {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    client.make_stream(1, |_| {});
    for (first, lines) in [(1, 10), (1, 10), (5, 20)] {
        // As a new process does.
        let mut nats = to(&cluster);
        deliver(&mut nats, &chunk(first, lines));
        nats.idle().expect("the server runs");
        deliver(&mut nats, &chunk(first, lines));
    }
    assert_once(&client.messages(), 24);
}

fn a_server_that_stops_and_starts_while_nothing_is_sent_is_detected(_: &TestNetns) {
    let mut cluster = Cluster::start(1);
    let client = cluster.client();
    client.make_stream(1, |_| {});
    let mut nats = to(&cluster);
    deliver(&mut nats, &chunk(1, 3));
    nats.idle().expect("the server runs");
    cluster.kill(0);
    let start = Instant::now();
    while nats.idle().is_ok() {
        assert!(start.elapsed() < TIMEOUT, "the end of the server is not detected");
    }
    nats.idle().expect_err("the server is stopped");
    cluster.restart(0);
    cluster.wait_until_it_listens();
    nats.idle().expect("the server runs again");
    // Once more, without a check in between.
    cluster.kill(0);
    cluster.restart(0);
    cluster.wait_until_it_listens();
    client.count();
    assert_eq!(deliver(&mut nats, &chunk(4, 3)), []);
    assert_once(&client.messages(), 6);
}

fn without_a_stream_the_error_says_how_to_make_one(_: &TestNetns) {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    let mut nats = to(&cluster);
    let error = first_error_after_connecting(&mut nats);
    assert!(error.reason.contains("nats stream add NAME --subjects=ctnl.events"), "{error}");
    assert!(!error.permanent);
    assert_eq!(nats.idle(), Err(error));
    client.make_stream(1, |_| {});
    deliver(&mut nats, &chunk(1, 3));
    assert_once(&client.messages(), 3);
}

/// The first error that is not about a server that is still starting.
fn first_error_after_connecting(nats: &mut Nats) -> DeliveryError {
    let start = Instant::now();
    loop {
        let error = nats.deliver(&chunk(1, 3)).expect_err("no stream has the subject");
        if !error.reason.contains("cannot connect") && !error.reason.contains("connection lost") {
            return error;
        }
        assert!(start.elapsed() < TIMEOUT, "{error}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn a_full_stream_refuses_lines_and_nothing_is_lost(_: &TestNetns) {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    client.make_stream(1, |config| {
        config.max_messages = 5;
        config.discard = DiscardPolicy::New;
    });
    let mut nats = to(&cluster);
    deliver(&mut nats, &chunk(1, 5));
    let error = nats.deliver(&chunk(6, 5)).expect_err("the stream is full");
    let reason = &error.reason;
    assert!(reason.contains("maximum messages exceeded") && reason.contains("nats stream edit"), "{error}");
    assert_once(&client.messages(), 5);
}

fn without_jetstream_the_error_says_so(_: &TestNetns) {
    let cluster = Cluster::with(1, "");
    let error = first_error_after_connecting(&mut to(&cluster));
    assert!(error.reason.contains("nats-server -js"), "{error}");
}

fn a_password_is_required_and_never_shown(_: &TestNetns) {
    let cluster = Cluster::with(
        1,
        "jetstream { store_dir: $STORE }\nauthorization { users: [
            { user: me, password: \"se/cret\" },
            { user: reader, password: \"se/cret\", permissions: { publish: \"other\" } }
        ] }",
    );
    cluster.wait_until_it_listens();
    for (login, expected) in
        [("", "authorization"), ("me:wrong@", "authorization"), ("reader:se%2Fcret@", "Permissions")]
    {
        let refused = publisher(&format!("nats://{login}127.0.0.1:4220/{SUBJECT}")).deliver(&chunk(1, 3));
        let reason = refused.expect_err("not allowed").reason;
        let is_expected = reason.to_lowercase().contains(&expected.to_lowercase());
        assert!(is_expected && !reason.contains("cret"), "{reason}");
    }
    let client = cluster.client_as("me", "se/cret");
    client.make_stream(1, |_| {});
    deliver(&mut publisher(&format!("nats://me:se%2Fcret@127.0.0.1:4220/{SUBJECT}")), &chunk(1, 3));
    let environment = |name: &str| {
        [("NATS_USER", "me"), ("NATS_PASSWORD", "se/cret")]
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let mut nats =
        Nats::new(&format!("127.0.0.1:4220/{SUBJECT}"), None, &TlsFiles::default(), environment).expect("an address");
    deliver(&mut nats, &chunk(4, 3));
    assert_once(&client.messages(), 6);
    assert!(Nats::new("a/x", Some(Path::new("/nowhere")), &TlsFiles::default(), |_| None).is_err());
}

fn a_server_with_tls_is_verified_and_gets_the_client_certificate(_: &TestNetns) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let mut params = CertificateParams::new([]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    fs::write(path("ca"), issuer.pem()).expect("write");
    for (name, subject) in [("server", "127.0.0.1"), ("client", "client")] {
        let (params, key) = (CertificateParams::new([subject.to_owned()]).expect("parameters"), KeyPair::generate());
        let key = key.expect("a key");
        fs::write(path(name), params.signed_by(&key, &issuer).expect("a certificate").pem()).expect("write");
        fs::write(path(&format!("{name}.key")), key.serialize_pem()).expect("write");
    }
    let shown = folder.path().display();
    let cluster = Cluster::with(
        1,
        Box::leak(
            format!(
                "jetstream {{ store_dir: $STORE }}\ntls {{ cert_file: \"{shown}/server\", key_file: \
                 \"{shown}/server.key\", ca_file: \"{shown}/ca\", verify: true }}"
            )
            .into(),
        ),
    );
    cluster.wait_until_it_listens();
    let url = format!("tls://127.0.0.1:4220/{SUBJECT}");
    let trusted = TlsFiles { authorities: Some(path("ca")), ..TlsFiles::default() };
    let complete = TlsFiles { certificate: Some(path("client")), key: Some(path("client.key")), ..trusted.clone() };
    let to = |tls: &TlsFiles| Nats::new(&url, None, tls, |_| None).expect("an address");
    let reason = |tls: &TlsFiles| to(tls).deliver(&chunk(1, 3)).expect_err("not allowed").reason;
    let unknown = reason(&TlsFiles::default());
    assert!(unknown.contains("unknown certificate authority\n  hint: --tls-ca FILE"), "{unknown}");
    let missing = reason(&trusted);
    assert!(missing.contains("--tls-cert FILE and --tls-key FILE"), "{missing}");
    let options = async_nats::ConnectOptions::new();
    let options = options.add_root_certificates(path("ca")).add_client_certificate(path("client"), path("client.key"));
    let client = cluster.client_with(options);
    client.make_stream(1, |_| {});
    deliver(&mut to(&complete), &chunk(1, 3));
    assert_once(&client.messages(), 3);
    let mismatch = TlsFiles { key: Some(path("server.key")), ..complete };
    assert!(Nats::new(&url, None, &mismatch, |_| None).is_err());
}

fn a_line_that_is_too_long_is_counted_and_those_beside_it_are_stored(_: &TestNetns) {
    let cluster = Cluster::with(1, "max_payload: 1000\njetstream { store_dir: $STORE }");
    let client = cluster.client();
    // The stream's own limit is below that of the server.
    client.make_stream(1, |config| config.max_message_size = 500);
    let mut nats = to(&cluster);
    for (number, length) in [(1, 600), (2, 2000)] {
        let long = Chunk { bytes: [vec![b'x'; length], vec![b'\n']].concat(), ..chunk(number, 1) };
        assert_eq!(deliver(&mut nats, &long), []);
        assert_eq!(nats.take_refused(), [number]);
    }
    deliver(&mut nats, &chunk(3, 1));
    assert_eq!(client.messages().iter().map(number).collect::<Vec<_>>(), [3]);
}
