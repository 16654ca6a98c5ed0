//! Floor 8, what the service manager is told (sd_notify(3)): ready, alive,
//! reloading, stopping.
//!
//! The protocol is one datagram of lines to the socket that the environment names.
//! The published crate for it knows no abstract sockets, and reads the environment at
//! each message; here one unconnected socket is made at the start, which works on when
//! privileges are gone (the manager's socket lets everybody write) and when the manager
//! was started again. Nothing here waits for the manager longer than a second, and
//! `alive` never does.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// How long the manager may keep a message that matters waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// The service manager, or nobody.
#[derive(Debug)]
pub struct SdNotify {
    manager: Option<Manager>,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

/// The manager takes us for dead when it has not heard of us for `limit`.
#[derive(Debug)]
struct Watchdog {
    limit: Duration,
    last: Option<Instant>,
}

impl SdNotify {
    /// The one that the environment names.
    ///
    /// # Errors
    /// It names one that cannot be one.
    pub fn from_env() -> io::Result<Self> {
        Self::of(|name| std::env::var_os(name), std::process::id())
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>, own_pid: u32) -> io::Result<Self> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(SdNotify { manager: None, watchdog: None });
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // Inherited from a parent, the watchdog is that of the parent.
        let is_ours = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(u64::from(own_pid));
        let limit = number("WATCHDOG_USEC").filter(|limit| is_ours && *limit > 0);
        Ok(SdNotify {
            manager: Some(Manager { socket, address: address(&name)? }),
            watchdog: limit.map(|limit| Watchdog { limit: Duration::from_micros(limit), last: None }),
        })
    }

    /// Whether anybody listens.
    pub fn is_present(&self) -> bool {
        self.manager.is_some()
    }

    /// The longest wait between two calls of [`SdNotify::alive`], where somebody waits
    /// for them: with it the manager hears of us after three quarters of its time.
    pub fn longest_wait(&self) -> Option<Duration> {
        self.watchdog.as_ref().map(|watchdog| watchdog.limit / 4)
    }

    /// What was promised at the start is so; also the end of a reload.
    pub fn ready(&mut self, status: &str) -> io::Result<()> {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)))
    }

    /// Files are opened again. `ready` has to follow.
    pub fn reloading(&mut self) -> io::Result<()> {
        // Managers since systemd 253 want to know when, in case of several in a row.
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()))
    }

    /// The end has begun: what is queued is being delivered.
    pub fn stopping(&mut self, status: &str) -> io::Result<()> {
        self.tell(&format!("STOPPING=1\nSTATUS={}", one_line(status)))
    }

    /// One line for `systemctl status`.
    pub fn status(&mut self, text: &str) -> io::Result<()> {
        self.tell(&format!("STATUS={}", one_line(text)))
    }

    /// To be called whenever the work has made a turn: most calls only compare times.
    /// A manager that does not read is told again at the next turn.
    pub fn alive(&mut self, now: Instant) {
        let (Some(manager), Some(watchdog)) = (&self.manager, &mut self.watchdog) else { return };
        let is_due = watchdog.last.is_none_or(|last| now.saturating_duration_since(last) >= watchdog.limit / 2);
        if is_due && manager.send_at_once("WATCHDOG=1").is_ok() {
            watchdog.last = Some(now);
        }
    }

    fn tell(&self, lines: &str) -> io::Result<()> {
        match &self.manager {
            Some(manager) => manager.socket.send_to_addr(lines.as_bytes(), &manager.address).map(drop),
            None => Ok(()),
        }
    }
}

impl Manager {
    fn send_at_once(&self, lines: &str) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let sent = self.socket.send_to_addr(lines.as_bytes(), &self.address);
        self.socket.set_nonblocking(false)?;
        sent.map(drop)
    }
}

/// `/path`, or `@name` without a file.
fn address(name: &OsString) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("NOTIFY_SOCKET={} is neither a path nor an abstract name", name.display()),
        )),
    }
}

/// The text up to its first line end: another line would be another message.
fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn supervisor(variables: &[(&str, &str)]) -> io::Result<SdNotify> {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        SdNotify::of(variable, 77)
    }

    /// A manager's socket, and its name.
    fn manager() -> (UnixDatagram, String, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (socket, path.to_str().unwrap().to_owned(), folder)
    }

    fn next(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(buffer.get(..length).unwrap()).into_owned()
    }

    fn is_empty(socket: &UnixDatagram) -> bool {
        socket.set_nonblocking(true).unwrap();
        let empty = socket.recv(&mut [0; 64]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        socket.set_nonblocking(false).unwrap();
        empty
    }

    #[test]
    fn without_a_manager_nothing_is_sent_and_nothing_fails() {
        let mut nobody = supervisor(&[("WATCHDOG_USEC", "1000")]).unwrap();
        assert!(!nobody.is_present() && nobody.longest_wait().is_none());
        nobody.ready("x").unwrap();
        nobody.alive(Instant::now());
        nobody.stopping("x").unwrap();
    }

    #[test]
    fn a_service_tells_its_whole_life() {
        let (socket, path, _folder) = manager();
        let mut supervisor = supervisor(&[("NOTIFY_SOCKET", &path)]).unwrap();
        supervisor.ready("follows one namespace").unwrap();
        assert_eq!(next(&socket), "READY=1\nSTATUS=follows one namespace");
        supervisor.status("1 lost\nREADY=1").unwrap();
        assert_eq!(next(&socket), "STATUS=1 lost");
        supervisor.reloading().unwrap();
        let reloading = next(&socket);
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.parse::<u64>().unwrap() > 0);
        supervisor.stopping("drains").unwrap();
        assert_eq!(next(&socket), "STOPPING=1\nSTATUS=drains");
    }

    #[test]
    fn a_manager_without_a_file_is_reached() {
        let name = format!("ctnl-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        supervisor(&[("NOTIFY_SOCKET", &format!("@{name}"))]).unwrap().ready("").unwrap();
        assert_eq!(next(&socket), "READY=1\nSTATUS=");
    }

    #[test]
    fn a_manager_that_was_started_again_is_reached() {
        let (socket, path, _folder) = manager();
        let mut supervisor = supervisor(&[("NOTIFY_SOCKET", &path)]).unwrap();
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        assert!(supervisor.status("nobody hears").is_err());
        let socket = UnixDatagram::bind(&path).unwrap();
        supervisor.status("again").unwrap();
        assert_eq!(next(&socket), "STATUS=again");
    }

    #[test]
    fn the_watchdog_hears_of_us_in_time_and_not_at_every_turn() {
        let (socket, path, _folder) = manager();
        let mut supervisor = supervisor(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "1000000")]).unwrap();
        assert_eq!(supervisor.longest_wait(), Some(Duration::from_millis(250)));
        let start = Instant::now();
        for milliseconds in 0..=1000 {
            supervisor.alive(start + Duration::from_millis(milliseconds));
        }
        for _ in 0..3 {
            assert_eq!(next(&socket), "WATCHDOG=1");
        }
        assert!(is_empty(&socket), "at 0, 500 and 1000 ms");
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nothing_up_and_hears_of_us_later() {
        let (socket, path, _folder) = manager();
        let mut supervisor = supervisor(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "2")]).unwrap();
        let filler = UnixDatagram::unbound().unwrap();
        filler.set_nonblocking(true).unwrap();
        while filler.send_to(b"x", &path).is_ok() {}
        let now = Instant::now();
        supervisor.alive(now);
        while !is_empty(&socket) {}
        supervisor.alive(now);
        assert_eq!(next(&socket), "WATCHDOG=1");
    }

    #[test]
    fn a_watchdog_for_another_process_is_not_ours() {
        let (_socket, path, _folder) = manager();
        let with =
            |pid| supervisor(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", pid)]).unwrap();
        assert!(with("77").longest_wait().is_some());
        assert!(with("78").longest_wait().is_none());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert!(supervisor(&[("NOTIFY_SOCKET", "notify")]).is_err());
        assert!(!supervisor(&[("NOTIFY_SOCKET", "")]).unwrap().is_present());
    }
}
