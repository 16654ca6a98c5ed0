//! The search on a made-up `/proc` and made-up connections.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

const ALICE: u32 = 1000;
const OLD: &str = "192.0.2.7 50123 10.0.0.1 22";
const NEW: &str = "192.0.2.7 50999 10.0.0.1 22";

struct FakeSockets(Vec<TcpSocket>);

impl Sockets for FakeSockets {
    fn find(&mut self, local: SocketAddr, remote: SocketAddr) -> Option<TcpSocket> {
        self.0.iter().find(|socket| (socket.local, socket.remote) == (local, remote)).copied()
    }

    fn are_available(&self) -> bool {
        true
    }

    fn for_each(&mut self, each: &mut dyn FnMut(&TcpSocket)) {
        self.0.iter().for_each(each);
    }
}

/// A host with process 1 and sshd (10).
struct FakeHost {
    proc: TempDir,
    sockets: Vec<TcpSocket>,
}

impl FakeHost {
    fn new() -> Self {
        let host = FakeHost { proc: tempfile::tempdir().unwrap(), sockets: Vec::new() };
        host.process(1, 0, "systemd", ROOT, "");
        host.process(10, 1, "sshd", ROOT, "");
        symlink("30", host.proc.path().join("self")).unwrap();
        host
    }

    fn process(&self, pid: u32, parent: u32, name: &str, user: u32, environ: &str) {
        let directory = self.proc.path().join(pid.to_string());
        fs::create_dir_all(directory.join("ns")).unwrap();
        fs::create_dir_all(directory.join("fd")).unwrap();
        let status = format!("Name:\t{name}\nPPid:\t{parent}\nUid:\t{user}\t{user}\t{user}\t{user}\n");
        fs::write(directory.join("status"), status).unwrap();
        fs::write(directory.join("environ"), environ.replace(',', "\0")).unwrap();
        let _ = symlink(INITIAL_PID_NAMESPACE, directory.join("ns/pid"));
    }

    /// A connection that process `pid` holds; its inode.
    fn connection(&mut self, pid: u32, user: u32, local: &str, remote: &str) {
        let inode = 100 + u32::try_from(self.sockets.len()).unwrap();
        symlink(format!("socket:[{inode}]"), self.proc.path().join(format!("{pid}/fd/{inode}"))).unwrap();
        self.sockets.push(TcpSocket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            uid: user,
            inode,
        });
    }

    fn search(&self, own: &str, user: u32) -> OwnSessions {
        let pairs = own.split(',').filter_map(|variable| variable.split_once('='));
        let environment = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        Search::new(self.proc.path().to_owned(), environment, user, FakeSockets(self.sockets.clone())).run()
    }
}

fn session(text: &str) -> SshSession {
    SshSession::parse(text).unwrap()
}

fn named(text: &str) -> String {
    format!("SSH_CONNECTION={text}")
}

fn only(text: &str) -> OwnSessions {
    OwnSessions { sessions: vec![session(text)], all_of_server: None }
}

#[test]
fn the_own_environment_is_enough_without_proc() {
    let empty = tempfile::tempdir().unwrap();
    let environment = [("SSH_CONNECTION".into(), OLD.into())].into_iter().collect();
    let live = TcpSocket { local: session(OLD).server, remote: session(OLD).client, uid: ROOT, inode: 7 };
    let search = Search::new(empty.path().to_owned(), environment, ROOT, FakeSockets(vec![live]));
    assert_eq!(search.run(), only(OLD));
}

#[test]
fn without_proc_and_without_a_live_session_every_connection_to_the_port_of_sshd_is_spared() {
    let empty = tempfile::tempdir().unwrap();
    let socket = |local: &str, uid, inode| TcpSocket {
        local: local.parse().unwrap(),
        remote: "192.0.2.7:50999".parse().unwrap(),
        uid,
        inode,
    };
    let sockets =
        FakeSockets(vec![socket("10.0.0.1:22", ROOT, 1), socket("10.0.0.1:443", ROOT, 2), socket("10.0.0.1:22", 5, 3)]);
    let found = Search::new(empty.path().to_owned(), Environment::default(), ROOT, sockets).run();
    assert_eq!(found.sessions, [session(NEW)]);
    assert!(found.note().is_some_and(|note| note.contains("all 1 connections")));
}

#[test]
fn an_ancestor_s_session_is_found_where_sudo_dropped_the_variable() {
    let mut host = FakeHost::new();
    host.process(15, 10, "sshd", ALICE, "");
    host.process(20, 15, "bash", ALICE, &named(OLD));
    host.process(25, 20, "sudo", ROOT, &named(OLD));
    host.process(30, 25, "ctnl", ROOT, "");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50123");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    assert_eq!(host.search("", ROOT), only(OLD), "the other session is another's");
}

#[test]
fn a_user_cannot_make_root_spare_a_flow_that_is_no_session() {
    let mut host = FakeHost::new();
    host.process(15, 10, "sshd", ALICE, "");
    host.process(20, 15, "bash", ALICE, &named("198.51.100.9 4444 10.0.0.1 443"));
    host.process(25, 20, "sudo", ROOT, &named("198.51.100.9 4444 10.0.0.1 443"));
    host.process(30, 25, "ctnl", ROOT, "");
    host.process(40, 1, "nginx", ROOT, "");
    host.connection(40, ROOT, "10.0.0.1:443", "198.51.100.9:4444");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50123");
    let found = host.search("SSH_CONNECTION=198.51.100.9 4444 10.0.0.1 443", ROOT);
    assert_eq!(found, OwnSessions { all_of_server: Some(1), ..only(OLD) });
}

#[test]
fn in_root_s_multiplexer_a_process_with_a_made_up_session_is_of_no_effect() {
    let mut host = FakeHost::new();
    host.process(20, 1, "tmux", ROOT, "");
    host.process(30, 20, "ctnl", ROOT, "");
    host.process(40, 1, "sleep", ALICE, &format!("TMUX=x,{}", named("198.51.100.9 4444 10.0.0.1 443")));
    host.process(41, 1, "nginx", ROOT, "");
    host.connection(41, ROOT, "10.0.0.1:443", "198.51.100.9:4444");
    assert_eq!(host.search("TMUX=/tmp/tmux-0/default", ROOT), OwnSessions::default());
}

#[test]
fn under_a_multiplexer_the_session_that_attached_later_is_spared_too() {
    let mut host = FakeHost::new();
    host.process(20, 1, "tmux: server", ROOT, "");
    host.process(30, 20, "ctnl", ROOT, "");
    host.process(40, 10, "tmux: client", ROOT, &named(NEW));
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    let found = host.search(&format!("SSH_CONNECTION={OLD},TMUX=/tmp/tmux-0/default"), ROOT);
    assert_eq!(found, OwnSessions { sessions: [OLD, NEW].map(session).to_vec(), all_of_server: None });
}

#[test]
fn where_the_named_session_is_over_every_connection_of_sshd_is_spared() {
    // As under dtach, which sets no variable.
    let mut host = FakeHost::new();
    host.process(20, 1, "dtach", ROOT, &named(OLD));
    host.process(30, 20, "ctnl", ROOT, "");
    host.process(40, 1, "nginx", ROOT, "");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    host.connection(40, ROOT, "10.0.0.1:443", "192.0.2.7:50998");
    let found = host.search(&format!("SSH_CONNECTION={OLD}"), ROOT);
    assert_eq!(found, OwnSessions { sessions: [OLD, NEW].map(session).to_vec(), all_of_server: Some(1) });
}

#[test]
fn on_the_console_nothing_is_spared() {
    let mut host = FakeHost::new();
    host.process(20, 1, "bash", ROOT, "");
    host.process(30, 20, "ctnl", ROOT, "");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    assert_eq!(host.search("", ROOT), OwnSessions::default());
}

#[test]
fn on_a_pseudo_terminal_without_an_ssh_server_among_the_ancestors_every_connection_of_sshd_is_spared() {
    // As under run0, and in a multiplexer that was started on the console.
    let mut host = FakeHost::new();
    host.process(20, 1, "bash", ROOT, "");
    host.process(30, 20, "ctnl", ROOT, "");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    let sockets = FakeSockets(host.sockets.clone());
    let search = Search::new(host.proc.path().to_owned(), Environment::default(), ROOT, sockets);
    let found = Search { on_pseudo_terminal: true, ..search }.run();
    assert_eq!(found, OwnSessions { all_of_server: Some(1), ..only(NEW) });
}

#[test]
fn in_another_pid_namespace_every_connection_of_the_server_s_port_is_spared() {
    let host = FakeHost::new();
    host.process(30, 1, "ctnl", ROOT, "");
    fs::remove_file(host.proc.path().join("30/ns/pid")).unwrap();
    symlink("pid:[4026532000]", host.proc.path().join("30/ns/pid")).unwrap();
    let mut host = host;
    host.connection(30, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    assert_eq!(host.search("", ROOT), OwnSessions { all_of_server: Some(1), ..only(NEW) });
}

#[test]
fn the_connection_that_carries_a_tunnelled_session_is_spared_with_it() {
    // `ssh -R 2222:localhost:22 jump` runs on this host, and the session came back through it.
    let mut host = FakeHost::new();
    host.process(20, 10, "bash", ROOT, &named("127.0.0.1 60000 127.0.0.1 22"));
    host.process(30, 20, "ctnl", ROOT, "");
    host.process(50, 1, "ssh", ALICE, "");
    host.connection(10, ROOT, "127.0.0.1:22", "127.0.0.1:60000");
    host.connection(50, ALICE, "127.0.0.1:60000", "127.0.0.1:22");
    host.connection(50, ALICE, "10.0.0.1:50000", "203.0.113.5:22");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    let found = host.search("SSH_CONNECTION=127.0.0.1 60000 127.0.0.1 22", ROOT);
    let carrier = session("203.0.113.5 22 10.0.0.1 50000");
    assert_eq!(found.sessions, [session("127.0.0.1 60000 127.0.0.1 22"), carrier]);
    assert!(found.all_of_server.is_none());
}

#[test]
fn a_program_with_file_capabilities_finds_the_session_of_its_user() {
    // Neither the own entry in /proc nor what sshd has open can be read.
    let mut host = FakeHost::new();
    host.process(20, 10, "bash", ALICE, &named(OLD));
    host.process(30, 20, "ctnl", ALICE, "");
    fs::remove_file(host.proc.path().join("30/environ")).unwrap();
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50123");
    fs::remove_dir_all(host.proc.path().join("10/fd")).unwrap();
    assert_eq!(host.search(&format!("SSH_CONNECTION={OLD}"), ALICE), only(OLD));
}
