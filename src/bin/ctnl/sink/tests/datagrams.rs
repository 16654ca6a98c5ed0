//! Syslog messages over UDP.

use std::net::UdpSocket;

use super::*;

/// The lines of the messages that arrive.
fn receive(socket: &UdpSocket, count: usize) -> Vec<String> {
    socket.set_read_timeout(Some(LONG)).unwrap();
    let mut datagram = [0; 10_000];
    let mut messages = Vec::new();
    while messages.len() < count {
        let length = socket.recv(&mut datagram).unwrap();
        let message = String::from_utf8(datagram[..length].to_vec()).unwrap();
        assert!(message.starts_with("<30>1 "), "{message}");
        messages.push(message.split_once("] ").unwrap().1.to_owned());
    }
    messages
}

#[test]
fn each_line_is_one_udp_message() {
    for host in ["127.0.0.1", "[::1]"] {
        let socket = UdpSocket::bind(format!("{host}:0"))
            .unwrap_or_else(|error| panic!("{host} has to be on the loopback device: {error}"));
        let spec = format!("syslog:udp:{host}:{}", socket.local_addr().unwrap().port());
        let mut sinks = open(&spec, &options());
        sinks.put(chunk(1, 10));
        assert_eq!(receive(&socket, 10), lines("s", 1..=10));
        assert_eq!(finish(sinks), []);
    }
}

#[test]
fn lines_that_a_udp_port_without_a_receiver_refused_are_sent_again() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let spool = tempfile::tempdir().unwrap();
    let mut sinks = open(&format!("syslog:udp:127.0.0.1:{port}"), &spooling(spool.path(), 1 << 20));
    sinks.put(chunk(1, 10));
    // Nobody sends more: the answer comes later.
    until_down(&sinks);
    let why = sinks.statistics()[0].why.clone().unwrap();
    assert!(why.contains("Connection refused"), "{why}");
    sinks.put(chunk(11, 10));
    until(|| sinks.statistics()[0].spooled > 0);
    let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    assert_eq!(receive(&socket, 20), lines("s", 1..=20));
    until_up(&sinks);
    assert_eq!(finish(sinks), []);
}

#[test]
fn a_line_that_is_too_long_for_udp_becomes_a_gap() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sinks = open(&format!("syslog:udp:{}", socket.local_addr().unwrap()), &options());
    let bytes = format!("s 1\n{}\n{}\ns 4\n", "x".repeat(70_000), "y".repeat(70_000)).into_bytes();
    sinks.put(Arc::new(Chunk { stream: "s".into(), first: 1, lines: 4, bytes }));
    assert_eq!(receive(&socket, 3), ["s 1", "s 4", "s gap 2 2 Refused"]);
    until(|| (sinks.statistics()[0].delivered, sinks.statistics()[0].dropped) == (2, 2));
    assert_eq!(finish(sinks), []);
}
