//! The program on a pseudoterminal that is all of its standard streams.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::Pid;

use crate::harness::TestNetns;
use crate::running::until;

/// A run on a screen. Killed when it is dropped.
pub struct OnScreen {
    child: Child,
    master: Option<File>,
    slave: OwnedFd,
    before: Termios,
    shown: Arc<Mutex<String>>,
    hang_up: Arc<AtomicBool>,
    written: Arc<Mutex<String>>,
}

nix::ioctl_write_ptr_bad!(set_size, nix::libc::TIOCSWINSZ, Winsize);

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl OnScreen {
    /// Starts it on a screen of this size.
    pub fn start(netns: &TestNetns, arguments: &[&str], rows: u16, columns: u16) -> Self {
        Self::of(netns.ctnl_command(arguments), rows, columns)
    }

    /// Starts a command on a screen of this size.
    pub fn of(mut command: Command, rows: u16, columns: u16) -> Self {
        let pty = openpty(&size(rows, columns), None).expect("a pseudoterminal");
        // Otherwise the program keeps the terminal that is closed here.
        fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("a flag of a descriptor");
        fcntl(&pty.slave, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("a flag of a descriptor");
        let clone = || pty.slave.try_clone().expect("a descriptor");
        let before = tcgetattr(&pty.slave).expect("the modes of a terminal");
        command.env("TERM", "xterm").env("LC_ALL", "C").stdin(clone()).stdout(clone()).stderr(clone());
        let child = command.spawn().expect("the program starts");
        let (master, shown) = (File::from(pty.master), Arc::new(Mutex::new(String::new())));
        let (mut reading, text) = (master.try_clone().expect("a descriptor"), Arc::clone(&shown));
        let hang_up = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&hang_up);
        let written = Arc::new(Mutex::new(String::new()));
        let all = Arc::clone(&written);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while !is_over.load(Ordering::Relaxed) {
                let mut master = [PollFd::new(reading.as_fd(), PollFlags::POLLIN)];
                if poll(&mut master, PollTimeout::from(50u8)) == Ok(0) {
                    continue;
                }
                let Ok(length @ 1..) = reading.read(&mut bytes) else { break };
                let read = String::from_utf8_lossy(&bytes[..length]);
                text.lock().expect("no panic").push_str(&read);
                all.lock().expect("no panic").push_str(&read);
            }
        });
        OnScreen { hang_up, written, child, master: Some(master), slave: pty.slave, before, shown }
    }

    /// What was written since the last [`OnScreen::forget`].
    pub fn shown(&self) -> String {
        self.shown.lock().expect("no panic").clone()
    }

    /// Forgets what was written.
    pub fn forget(&self) {
        self.shown.lock().expect("no panic").clear();
    }

    /// Waits until `text` is written.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        until(|| self.shown().contains(text), || format!("no '{text}' in: {}", self.shown()));
    }

    /// The lines of the screen, as all that was written makes them.
    pub fn lines(&self) -> Vec<String> {
        grid(&self.written.lock().expect("no panic"))
    }

    /// Waits until a line of the screen has `text`.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str) {
        until(
            || self.lines().iter().any(|line| line.contains(text)),
            || format!("no '{text}' in:\n{}", self.lines().join("\n")),
        );
    }

    /// Forgets what was written, and types `text`.
    pub fn type_in(&mut self, text: &str) {
        self.forget();
        self.master.as_mut().expect("a terminal").write_all(text.as_bytes()).expect("write");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().expect("a PID")), signal).expect("kill");
    }

    /// Changes the size.
    #[allow(unsafe_code, reason = "an ioctl with a pointer to a value that lives long enough")]
    pub fn resize(&self, rows: u16, columns: u16) {
        use std::os::fd::AsRawFd;
        // SAFETY: TIOCSWINSZ reads a `winsize`, which outlives the call.
        unsafe { set_size(self.slave.as_raw_fd(), &size(rows, columns)) }.expect("a size");
        self.signal(Signal::SIGWINCH);
    }

    /// Whether the terminal is in the modes that it had before the start.
    pub fn is_restored(&self) -> bool {
        self.modes() == self.before
    }

    /// Whether keys are read one by one.
    pub fn is_raw(&self) -> bool {
        !self.modes().local_flags.contains(LocalFlags::ICANON)
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.slave).expect("the modes of a terminal")
    }

    /// Closes the terminal, as the end of a connection does.
    pub fn hang_up(&mut self) {
        self.hang_up.store(true, Ordering::Relaxed);
        self.master = None;
    }

    /// Whether it is stopped.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("its state");
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until(
            || {
                status = self.child.try_wait().expect("its state");
                status.is_some()
            },
            || "it goes on".to_owned(),
        );
        status.expect("its end")
    }

    /// Waits for its end, which restores the terminal.
    #[track_caller]
    pub fn ends_with(&mut self, code: i32) {
        let status = self.wait();
        assert_eq!(status.code(), Some(code), "{}", self.shown());
        assert!(self.is_restored(), "the terminal is in other modes");
        // The alternate screen is left, and the cursor is shown.
        self.wait_for("\x1b[?1049l");
        self.wait_for("\x1b[?25h");
    }
}

impl Drop for OnScreen {
    fn drop(&mut self) {
        self.hang_up.store(true, Ordering::Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal shows that understands the sequences of ratatui: places of the cursor, and erasing all.
fn grid(written: &str) -> Vec<String> {
    let mut rows: Vec<Vec<char>> = Vec::new();
    let (mut row, mut column) = (0, 0);
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => {
                if rest.next() != Some('[') {
                    continue;
                }
                let mut sequence = String::new();
                for c in rest.by_ref() {
                    sequence.push(c);
                    if c.is_ascii_alphabetic() {
                        break;
                    }
                }
                let numbers = sequence.trim_end_matches(|c: char| c.is_ascii_alphabetic()).split(';');
                let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap_or(1)).collect();
                match sequence.chars().last() {
                    Some('H') => {
                        row = numbers.first().map_or(0, |row| row - 1);
                        column = numbers.get(1).map_or(0, |column| column - 1);
                    }
                    Some('J') => rows.clear(),
                    _ => {}
                }
            }
            '\r' => column = 0,
            '\n' => row += 1,
            c => {
                rows.resize(rows.len().max(row + 1), Vec::new());
                let width = rows[row].len().max(column + 1);
                rows[row].resize(width, ' ');
                rows[row][column] = c;
                column += 1;
            }
        }
    }
    rows.into_iter().map(|row| row.into_iter().collect()).collect()
}
