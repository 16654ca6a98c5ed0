//! A TLS server that disconnects, refuses, and has wrong certificates.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use super::*;

/// An authority, and a folder with the files that it issues.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = Authority {
            folder: tempfile::tempdir().unwrap(),
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        };
        fs::write(authority.path("ca"), authority.issuer.pem()).unwrap();
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes NAME and NAME.key.
    fn issue(&self, name: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(name), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn trusted(&self) -> TlsFiles {
        TlsFiles { authorities: Some(self.path("ca")), ..TlsFiles::default() }
    }

    fn with_certificate(&self, name: &str) -> TlsFiles {
        let (certificate, key) = (self.path(name), self.path(&format!("{name}.key")));
        TlsFiles { certificate: Some(certificate), key: Some(key), ..self.trusted() }
    }

    /// A server with the certificate NAME. `requires`: it accepts only clients with a certificate of this
    /// authority.
    fn server(&self, name: &str, requires: bool, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let builder = if requires {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let certificate = CertificateDer::from_pem_file(self.path(name)).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
    }
}

type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

fn accept(listener: &TcpListener, config: &Arc<ServerConfig>) -> Stream {
    let (tcp, _) = listener.accept().unwrap();
    let stream = StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), tcp);
    BufReader::with_capacity(100, stream)
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Without repeated lines.
fn once(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    lines.into_iter().filter(|line| seen.insert(line.clone())).collect()
}

#[test]
fn a_tls_server_that_is_killed_and_restarted_misses_no_line_and_sees_the_end_of_the_stream() {
    for version in rustls::ALL_VERSIONS {
        let authority = Authority::new("one");
        authority.issue("server", &["127.0.0.1"], |_| ());
        let server = authority.server("server", false, version);
        let (listener, port) = listen();
        let spool = tempfile::tempdir().unwrap();
        let options =
            SinkOptions { tls: authority.trusted(), header: b"head\n"[..].into(), ..spooling(spool.path(), 8 << 20) };
        let mut sinks = open(&format!("tls:127.0.0.1:{port}"), &options);
        sinks.put(chunk(1, 1000));
        let mut receiver = accept(&listener, &server);
        let mut seen: Vec<String> = receiver.by_ref().lines().take(301).map(Result::unwrap).collect();
        assert_eq!(seen.remove(0), "head");
        assert_eq!(seen, lines("s", 1..=300));
        sinks.put(chunk(1001, 3000));
        drop((receiver, listener));
        sinks.put(chunk(4001, 1000));
        until_down(&sinks);
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let finishing = thread::spawn(move || {
            until_up(&sinks);
            sinks.put(chunk(5001, 1));
            finish(sinks)
        });
        // An end without close_notify is an error.
        seen.extend(accept(&listener, &server).lines().map(Result::unwrap).filter(|line| line != "head"));
        assert_eq!(finishing.join().unwrap(), []);
        assert_eq!(once(seen), lines("s", 1..=5001));
    }
}

#[test]
fn a_syslog_message_over_tls_begins_with_its_length() {
    let authority = Authority::new("one");
    authority.issue("server", &["localhost"], |_| ());
    let (listener, port) = listen();
    let options = SinkOptions { tls: authority.trusted(), ..options() };
    let mut sinks = open(&format!("syslog:tls:localhost:{port}"), &options);
    sinks.put(chunk(1, 2));
    let mut receiver = accept(&listener, &authority.server("server", false, &rustls::version::TLS13));
    for number in 1..=2 {
        let mut length = Vec::new();
        receiver.read_until(b' ', &mut length).unwrap();
        let length: usize = String::from_utf8(length).unwrap().trim().parse().unwrap();
        let mut message = vec![0; length];
        receiver.read_exact(&mut message).unwrap();
        let message = String::from_utf8(message).unwrap();
        assert!(message.starts_with("<30>1 ") && message.ends_with(&format!("] s {number}")), "{message}");
    }
    assert_eq!(finish(sinks), []);
}

/// What the sink reports when one connection after another is handled by `serve`.
fn reason(host: &str, tls: TlsFiles, serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let (listener, port) = listen();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            serve(stream);
        }
    });
    let mut sinks = open(&format!("tls:{host}:{port}"), &SinkOptions { tls, ..options() });
    sinks.put(chunk(1, 1));
    until_down(&sinks);
    let why = sinks.statistics()[0].why.clone().unwrap();
    assert_eq!(sinks.finish(Duration::ZERO)[0].lost, 1, "{why}");
    why
}

fn handshake(config: Arc<ServerConfig>) -> impl Fn(TcpStream) + Send + 'static {
    move |tcp| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), tcp);
        let _ = stream.read(&mut [0; 10]);
    }
}

#[test]
fn a_certificate_that_cannot_be_verified_is_described_with_a_hint() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    authority.issue("other name", &["logs.example", "192.0.2.1"], |_| ());
    authority.issue("expired", &["127.0.0.1"], |params| params.not_after = date_time_ymd(2021, 3, 4));
    authority.issue("early", &["127.0.0.1"], |params| params.not_before = date_time_ymd(3000, 1, 1));
    authority.issue("authority", &["127.0.0.1"], |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    authority.issue("server", &["127.0.0.1"], |_| ());
    let from = |name: &str| handshake(authority.server(name, false, &rustls::version::TLS13));
    let namesake = Authority::new("one");
    for (why, expected) in [
        (
            reason("127.0.0.1", namesake.trusted(), from("server")),
            "was not signed by the authority of that name\n  hint: --tls-ca FILE",
        ),
        (
            reason("127.0.0.1", authority.trusted(), from("other name")),
            "is not valid for '127.0.0.1': its subjectAltName has logs.example, 192.0.2.1\n  hint: ",
        ),
        (
            reason("127.0.0.1", authority.trusted(), from("expired")),
            "the server's certificate expired on 2021-03-04T00:00:00Z\n  hint: renew it",
        ),
        (
            reason("127.0.0.1", authority.trusted(), from("early")),
            "is not valid before 3000-01-01T00:00:00Z\n  hint: check the clock",
        ),
        (
            reason("127.0.0.1", authority.trusted(), from("authority")),
            "certificate is that of a certificate authority\n  hint: ",
        ),
        (
            reason("127.0.0.1", other.trusted(), from("server")),
            "was issued by an unknown certificate authority\n  hint: --tls-ca FILE",
        ),
        (reason("localhost", authority.trusted(), from("server")), "is not valid for 'localhost'"),
    ] {
        assert!(why.contains(expected), "{expected}:\n{why}");
    }
}

#[test]
fn a_server_that_requires_a_client_certificate_gets_one_or_is_described_with_a_hint() {
    for version in rustls::ALL_VERSIONS {
        let (authority, other) = (Authority::new("one"), Authority::new("other"));
        authority.issue("server", &["127.0.0.1"], |_| ());
        authority.issue("client", &["client"], |_| ());
        other.issue("client", &["client"], |_| ());
        let server = authority.server("server", true, version);
        let why = reason("127.0.0.1", authority.trusted(), handshake(Arc::clone(&server)));
        let expected = "the server requires a client certificate (alert certificate_required)\n  hint: use --tls-cert";
        let expected_12 = "the server requires a client certificate (alert ";
        let expected = if version == &&rustls::version::TLS13 { expected } else { expected_12 };
        assert!(why.contains(expected), "{why}");
        let wrong = TlsFiles { authorities: Some(authority.path("ca")), ..other.with_certificate("client") };
        let why = reason("127.0.0.1", wrong, handshake(Arc::clone(&server)));
        assert!(why.contains("the alert unknown_ca\n  hint: ") && why.contains("--tls-cert"), "{why}");

        let (listener, port) = listen();
        let options = SinkOptions { tls: authority.with_certificate("client"), ..options() };
        let mut sinks = open(&format!("tls:127.0.0.1:{port}"), &options);
        sinks.put(chunk(1, 10));
        let reading = thread::spawn(move || accept(&listener, &server).lines().collect::<Result<Vec<_>, _>>());
        assert_eq!(finish(sinks), []);
        assert_eq!(reading.join().unwrap().unwrap(), lines("s", 1..=10));
    }
}

#[test]
fn a_server_without_tls_is_an_error_after_the_connect_timeout_at_the_latest() {
    let authority = Authority::new("one");
    let begin = Instant::now();
    let plain = reason("127.0.0.1", authority.trusted(), |mut tcp| drop(tcp.write_all(b"220 smtp.example ESMTP\r\n")));
    assert!(plain.contains("is not TLS") && plain.contains("\n  hint: does it expect TLS at this port?"), "{plain}");
    let closing = reason("127.0.0.1", authority.trusted(), |mut tcp| drop(tcp.read(&mut [0; 4096])));
    assert!(closing.contains("closed the connection\n  hint: does the server expect TLS"), "{closing}");
    assert!(begin.elapsed() < Duration::from_secs(4));
    let silent = reason("127.0.0.1", authority.trusted(), |tcp| {
        thread::sleep(LONG);
        drop(tcp);
    });
    assert!(silent.contains("no answer to the TLS handshake\n  hint: "), "{silent}");
    assert!(begin.elapsed() < Duration::from_secs(12));
}

#[test]
fn files_that_cannot_be_used_are_an_error_at_the_start() {
    let authority = Authority::new("one");
    authority.issue("one", &["a"], |_| ());
    authority.issue("two", &["a"], |_| ());
    fs::write(
        authority.path("encrypted"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    fs::write(authority.path("empty"), "").unwrap();
    let with = |certificate: &str, key: &str| TlsFiles {
        certificate: Some(authority.path(certificate)),
        key: Some(authority.path(key)),
        ..authority.trusted()
    };
    let trusting = |name: &str| TlsFiles { authorities: Some(authority.path(name)), ..TlsFiles::default() };
    for (tls, expected) in [
        (with("one", "two.key"), "two.key is not the key of the certificate in"),
        (with("one", "encrypted"), "the key is encrypted\n  hint: "),
        (with("one", "one"), "no private key in it: expected PEM"),
        (with("empty", "one.key"), "no certificate in it: expected PEM"),
        (trusting("empty"), "no certificate in it: expected PEM"),
        (trusting("missing"), "cannot read "),
    ] {
        for spec in ["tls:a:1", "syslog:tls:a"] {
            let options = SinkOptions { tls: tls.clone(), ..options() };
            let error = Sinks::open(&[spec.parse().unwrap()], &options).err().unwrap().to_string();
            assert!(error.starts_with(spec) && error.contains(expected), "{expected}:\n{error}");
        }
    }
    let options = SinkOptions { tls: authority.trusted(), ..options() };
    let error = Sinks::open(&["tls:a b:1".parse().unwrap()], &options).err().unwrap().to_string();
    assert!(error.contains("invalid host name 'a b'"), "{error}");
}
