//! The program while it runs: stopped, continued, and with a terminal.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Run, TestNetns};

/// Longer than anything takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The program, started in the calling thread's namespace. Killed when it is dropped.
pub struct Running {
    child: Option<Child>,
    command: Command,
    terminal: Option<Terminal>,
}

struct Terminal {
    master: File,
    shown: Arc<Mutex<String>>,
}

impl Running {
    /// Starts it without a terminal.
    pub fn start(netns: &TestNetns, arguments: &[&str]) -> Self {
        Self::with_stdout(netns, arguments, Stdio::piped())
    }

    /// Starts it without a terminal, with this standard output.
    pub fn with_stdout(netns: &TestNetns, arguments: &[&str], stdout: Stdio) -> Self {
        let mut command = netns.ctnl_command(arguments);
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        let child = Some(command.spawn().expect("the program starts"));
        Running { child, command, terminal: None }
    }

    /// Starts it with a terminal as standard input and standard error.
    pub fn on_terminal(netns: &TestNetns, arguments: &[&str]) -> Self {
        let pty = openpty(None, None).expect("a pseudoterminal");
        let clone = |end: &OwnedFd| end.try_clone().expect("a descriptor");
        let mut command = netns.ctnl_command(arguments);
        command.stdin(clone(&pty.slave)).stderr(clone(&pty.slave)).stdout(Stdio::piped());
        let child = Some(command.spawn().expect("the program starts"));
        let (master, shown) = (File::from(pty.master), Arc::new(Mutex::new(String::new())));
        let (mut reading, text) = (master.try_clone().expect("a descriptor"), Arc::clone(&shown));
        // The command keeps its ends of the terminal open, so this thread ends with the process.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = reading.read(&mut bytes) {
                text.lock().expect("no panic").push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Running { child, command, terminal: Some(Terminal { master, shown }) }
    }

    /// What the terminal shows.
    pub fn shown(&self) -> String {
        self.terminal.as_ref().expect("a terminal").shown.lock().expect("no panic").clone()
    }

    /// Waits until the terminal shows `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        until(|| self.shown().contains(text), || format!("no '{text}' in: {}", self.shown()));
    }

    /// Types `text`.
    pub fn type_in(&mut self, text: &str) {
        self.terminal.as_mut().expect("a terminal").master.write_all(text.as_bytes()).expect("write");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("kill");
    }

    /// Waits until it handles a signal.
    #[track_caller]
    pub fn wait_until_it_handles(&self, signal: Signal) {
        let status = format!("/proc/{}/status", self.pid());
        let handled = || {
            let text = fs::read_to_string(&status).expect("its status");
            let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("the handled signals");
            u64::from_str_radix(mask.trim(), 16).expect("a mask") & (1 << (signal as i32 - 1)) != 0
        };
        until(handled, || format!("it does not handle {signal}"));
    }

    /// Stops it. Returns when every thread has stopped; false where it has ended already.
    #[track_caller]
    pub fn stop(&self) -> bool {
        self.signal(Signal::SIGSTOP);
        let mut states = String::new();
        until(
            || {
                states = self.states();
                states.chars().all(|state| state == 'T') || states == "Z"
            },
            || "it does not stop".to_owned(),
        );
        states != "Z"
    }

    /// Continues it after a stop.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Run {
        let child = self.child.take().expect("a child");
        Run::new(&self.command, child.wait_with_output().expect("its end"))
    }

    /// The state of each thread, as proc_pid_stat(5) has it.
    fn states(&self) -> String {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("its threads");
        let state = |thread: fs::DirEntry| {
            let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
            // The name in parentheses may have any character.
            stat.rsplit_once(") ").and_then(|(_, state)| state.chars().next())
        };
        threads.flatten().filter_map(state).collect()
    }

    fn pid(&self) -> Pid {
        let id = self.child.as_ref().expect("a child").id();
        Pid::from_raw(id.try_into().expect("a PID"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until `is_true`: looks each millisecond in the first second, and less often afterwards, since many
/// conditions run a program.
#[track_caller]
pub fn until(mut is_true: impl FnMut() -> bool, why: impl FnOnce() -> String) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < TIMEOUT, "{} within {TIMEOUT:?}", why());
        let pause = if begun.elapsed() < Duration::from_secs(1) { 1 } else { 50 };
        thread::sleep(Duration::from_millis(pause));
    }
}

/// Waits until so many sockets have joined groups of netfilter in this namespace.
#[track_caller]
pub fn wait_for_listeners(count: usize) {
    let joined = || {
        let table = fs::read_to_string("/proc/thread-self/net/netlink").expect("the sockets");
        let columns = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        columns.filter(|columns| columns[1] == "12" && u32::from_str_radix(columns[3], 16) != Ok(0)).count()
    };
    until(|| joined() >= count, || format!("{} of {count} listen", joined()));
}
