//! One's own SSH session is spared.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use nix::sys::stat::fstat;

use ctnl_test_support::connections::{Tcp, Udp};
use ctnl_test_support::harness::{Run, TestNetns, tests};
use ctnl_test_support::net::{INSIDE, Net, PATH, ROUTER};
use ctnl_test_support::running::{Running, until};

tests![
    a_flush_of_everything_spares_the_session_of_the_environment,
    a_flush_of_everything_spares_the_session_of_an_ancestor,
    a_flush_with_no_spare_ssh_deletes_the_session,
    an_update_spares_the_session_and_the_next_packet_of_the_others_restores_their_timeouts,
    the_session_is_spared_behind_destination_nat,
    every_connection_of_sshd_is_spared_if_the_named_session_is_closed,
    the_connection_that_carries_a_tunnelled_session_is_spared_too,
    a_session_that_is_attached_while_the_question_stands_is_spared,
];

const CTNL: &str = env!("CARGO_BIN_EXE_ctnl");

/// A table with a session, and others beside it: its own client once more, and
/// the other family and protocol.
struct Fixture<'a> {
    net: Net<'a>,
    session: Tcp,
    others: (Tcp, Tcp, Udp),
}

impl<'a> Fixture<'a> {
    /// One whose session ends on another host.
    fn new(netns: &'a TestNetns) -> Self {
        Self::with(netns, Tcp::open)
    }

    fn with(netns: &'a TestNetns, open: impl FnOnce(&Net<'a>) -> Tcp) -> Self {
        let net = Net::new(netns);
        let (mut session, mut other, mut other6) = (open(&net), Tcp::open(&net), Tcp::open6(&net));
        Tcp::exchange_all([&mut session, &mut other, &mut other6]);
        let udp = Udp::open(&net);
        udp.exchange();
        Fixture { session, others: (other, other6, udp), net }
    }

    /// Runs `program` as in the session.
    fn run(&self, program: &[&str]) -> Run {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).env_clear().env("PATH", PATH);
        Run::of(command.env("SSH_CONNECTION", self.session.as_ssh_connection()))
    }

    fn has_only_the_session_left(&mut self) {
        let left = self.net.netns.dump();
        assert_eq!(left.iter().map(|flow| flow.orig).collect::<Vec<_>>(), [self.session.tuple()]);
        self.session.exchange();
        let _ = &self.others;
    }
}

fn a_flush_of_everything_spares_the_session_of_the_environment(netns: &TestNetns) {
    let mut fixture = Fixture::new(netns);
    let run = fixture.run(&[CTNL, "flush", "--all", "--yes"]).exits_with(0);
    run.stderr_contains("4 matched, 3 deleted, 1 spared (own SSH session)");
    fixture.has_only_the_session_left();
}

/// As behind sudo, which drops the variable. The server's end is this process's, an ancestor, too.
fn a_flush_of_everything_spares_the_session_of_an_ancestor(netns: &TestNetns) {
    let mut fixture = Fixture::with(netns, to_the_router);
    // The shell must not become the program: it is the ancestor.
    let script = format!("env -u SSH_CONNECTION '{CTNL}' flush --all --yes; exit $?");
    fixture.run(&["sh", "-c", &script]).exits_with(0).stderr_contains("3 deleted, 1 spared (own SSH session)");
    fixture.has_only_the_session_left();
}

fn a_flush_with_no_spare_ssh_deletes_the_session(netns: &TestNetns) {
    let fixture = Fixture::new(netns);
    let run = fixture.run(&[CTNL, "flush", "--all", "--yes", "--no-spare-ssh"]).exits_with(0);
    let output = run.stderr();
    assert!(output.contains("4 deleted") && !output.contains("spared"), "{output}");
    assert_eq!(netns.dump(), []);
}

fn an_update_spares_the_session_and_the_next_packet_of_the_others_restores_their_timeouts(netns: &TestNetns) {
    let mut fixture = Fixture::new(netns);
    let run = fixture.run(&[CTNL, "update", "tcp", "--cap-timeout", "100", "--yes"]).exits_with(0);
    run.stderr_contains("3 matched, 2 updated, 1 spared (own SSH session)");
    let other = fixture.others.0.tuple();
    let left = |netns: &TestNetns, tuple| netns.dumped(&tuple).expect("an entry").timeout.expect("a timeout");
    assert!(left(netns, fixture.session.tuple()) > 100 && left(netns, other) <= 100);
    fixture.others.0.exchange();
    assert!(left(netns, other) > 100);
    // The note of the timeout: those that had no packet since are not idle for days.
    let idle = netns.ctnl(&["count", "-q", "tcp and idle >= 1h"]).exits_with(0).stdout();
    assert_eq!(idle.trim(), "0");
}

/// The server's socket has the address after NAT, the entry has both.
fn the_session_is_spared_behind_destination_nat(netns: &TestNetns) {
    let net = Net::new(netns);
    ctnl_test_support::net::nft(
        "table ip nat {\nchain pre {\ntype nat hook prerouting priority -100;\n\
         ip daddr 10.1.0.1 tcp dport 2222 dnat to 10.2.0.2:22\n}\n}",
    );
    let listener = net.outside.run(|| std::net::TcpListener::bind((ctnl_test_support::net::OUTSIDE, 22)).unwrap());
    let mut session = Tcp::through(&net, &listener, (ctnl_test_support::net::ROUTER, 2222).into());
    session.exchange();
    let mut command = Command::new(CTNL);
    command.args(["flush", "--all", "--yes"]).env_clear();
    let run = Run::of(command.env("SSH_CONNECTION", session.as_ssh_connection())).exits_with(0);
    run.stderr_contains("1 matched, 0 deleted, 1 spared");
    session.exchange();
}

/// A process with the name of a program that holds connections, until dropped.
struct Holder(Child, tempfile::TempDir);

impl Holder {
    /// A process called `name` that has `sockets`, of which there are up to two, as its own.
    fn new(name: &str, sockets: Vec<TcpStream>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(name);
        // By another process, so that no thread of this one has the file open for writing (ETXTBSY).
        assert!(Command::new("cp").arg("/bin/sleep").arg(&program).status().unwrap().success());
        let mut command = Command::new(program);
        let mut sockets = sockets.into_iter().map(OwnedFd::from);
        // Where sleep is busybox, that name selects the applet; the process is called by its file's name.
        command.arg0("sleep").arg("600").stdin(sockets.next().unwrap());
        if let Some(second) = sockets.next() {
            command.stdout(second);
        }
        Holder(command.spawn().unwrap(), folder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
        let _ = &self.1;
    }
}

/// Waits until one process holds the socket: what another test starts at this moment holds everything that
/// this process has open, until it executes its program.
fn wait_for_one_holder(inode: u64) {
    let is_it = |path: &Path| fs::read_link(path).is_ok_and(|link| link.to_str() == Some(&format!("socket:[{inode}]")));
    let holds = |process: &Path| {
        let mut descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        descriptors.any(|descriptor| is_it(&descriptor.path()))
    };
    let holders = || fs::read_dir("/proc").unwrap().flatten().filter(|process| holds(&process.path())).count();
    until(|| holders() == 1, || format!("{} processes hold the socket", holders()));
}

/// A connection from the inside to the router itself.
fn to_the_router(net: &Net<'_>) -> Tcp {
    let listener = TcpListener::bind((ROUTER, 0)).unwrap();
    Tcp::through(net, &listener, listener.local_addr().unwrap())
}

/// As under dtach: the session that started the shell has ended, and another one is attached.
fn every_connection_of_sshd_is_spared_if_the_named_session_is_closed(netns: &TestNetns) {
    let net = Net::new(netns);
    let (mut session, other) = (to_the_router(&net), to_the_router(&net));
    session.exchange();
    let sshd = Holder::new("sshd", vec![session.server.try_clone().unwrap()]);
    let mut command = Command::new(CTNL);
    command.args(["flush", "--all", "--yes"]).env_clear().env("SSH_CONNECTION", format!("{INSIDE} 1 {ROUTER} 22"));
    let run =
        Run::of(&mut command).exits_with(0).stderr_contains("all 1 connections of this host's SSH server are spared");
    run.stderr_contains("1 spared (all of this host's SSH server: none is certainly your own)");
    let left = netns.dump();
    assert!(left.iter().any(|flow| flow.orig == session.tuple()), "{left:?}");
    assert!(!left.iter().any(|flow| flow.orig == other.tuple()), "{left:?}");
    session.exchange();
    drop(sshd);
}

/// As with `ssh -R 2222:localhost:22 OUTSIDE` on this host: the shell came back through that connection.
fn the_connection_that_carries_a_tunnelled_session_is_spared_too(netns: &TestNetns) {
    let net = Net::new(netns);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, client) = listener.accept().unwrap();
    let mut carrier = to_the_router(&net);
    let other = to_the_router(&net);
    let inode = fstat(&near).unwrap().st_ino;
    let ssh = Holder::new("ssh", vec![near, carrier.server.try_clone().unwrap()]);
    wait_for_one_holder(inode);
    let own: SocketAddr = server.local_addr().unwrap();
    let variable = format!("{} {} {} {}", client.ip(), client.port(), own.ip(), own.port());
    let mut command = Command::new(CTNL);
    Run::of(command.args(["flush", "--all", "--yes"]).env_clear().env("SSH_CONNECTION", variable)).exits_with(0);
    let left = netns.dump();
    assert!(left.iter().any(|flow| flow.orig == carrier.tuple()), "{left:?}");
    assert!(!left.iter().any(|flow| flow.orig == other.tuple()), "{left:?}");
    carrier.exchange();
    drop(ssh);
}

/// As where somebody attaches to the multiplexer, from another computer, to answer the question.
fn a_session_that_is_attached_while_the_question_stands_is_spared(netns: &TestNetns) {
    let net = Net::new(netns);
    let other = Tcp::open(&net);
    let mut flush = Running::on_terminal(netns, &["flush", "--all"]);
    flush.wait_for("[y/N]");
    let listener = TcpListener::bind((ROUTER, 22)).unwrap();
    let mut session = Tcp::through(&net, &listener, listener.local_addr().unwrap());
    session.exchange();
    flush.type_in("y\n");
    flush.wait().exits_with(0);
    let left = netns.dump();
    assert!(left.iter().any(|flow| flow.orig == session.tuple()), "{left:?}");
    assert!(!left.iter().any(|flow| flow.orig == other.tuple()), "{left:?}");
    session.exchange();
}
