//! Notifies the service manager (sd_notify(3)): ready, watchdog, reloading, stopping.
//!
//! A message is one datagram of lines to the socket in `NOTIFY_SOCKET`. The published crate
//! sd-notify has no abstract sockets and reads the environment for each message. Here one
//! unconnected socket is opened at the start; it still works after privileges were dropped
//! (the manager's socket is world-writable) and after the manager was restarted. A message
//! waits at most one second, and `alive` and `status` never wait.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The longest time that a message waits for the manager.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The service manager, if there is one.
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

/// The manager restarts the service when it gets no message within `limit` (`WatchdogSec=`).
#[derive(Debug)]
struct Watchdog {
    limit: Duration,
    last: Option<Duration>,
}

impl SdNotify {
    /// The manager of the environment variables.
    ///
    /// # Errors
    /// `NOTIFY_SOCKET` is not an address; no socket can be opened.
    pub fn from_env() -> io::Result<Self> {
        Self::of(|name| std::env::var_os(name), std::process::id())
    }

    /// Whether a service manager started this process and expects messages.
    pub fn is_expected() -> bool {
        std::env::var_os("NOTIFY_SOCKET").is_some_and(|name| !name.is_empty())
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>, own_pid: u32) -> io::Result<Self> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(SdNotify { manager: None, watchdog: None });
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // Inherited from a parent, the variables are for the parent.
        let is_own = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(u64::from(own_pid));
        let limit = number("WATCHDOG_USEC").filter(|limit| is_own && *limit > 0);
        Ok(SdNotify {
            manager: Some(Manager { socket, address: address(&name)? }),
            watchdog: limit.map(|limit| Watchdog { limit: Duration::from_micros(limit), last: None }),
        })
    }

    /// Whether there is a manager.
    pub fn is_present(&self) -> bool {
        self.manager.is_some()
    }

    /// The longest time between two calls of [`SdNotify::alive`], with a watchdog. The manager
    /// then gets a message within three quarters of its limit.
    pub fn longest_wait(&self) -> Option<Duration> {
        self.watchdog.as_ref().map(|watchdog| watchdog.limit / 4)
    }

    /// The start, or a reload, is complete.
    pub fn ready(&mut self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)))
    }

    /// A reload begins at `now` (`CLOCK_MONOTONIC`, which systemd 253 and later require). `ready`
    /// has to follow.
    pub fn reloading(&mut self, now: Duration) -> io::Result<()> {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()))
    }

    /// The service is ending.
    pub fn stopping(&mut self, status: &str) -> io::Result<()> {
        self.send(&format!("STOPPING=1\nSTATUS={}", one_line(status)))
    }

    /// One line for `systemctl status`. It does not wait for the manager: the next one replaces it.
    pub fn status(&mut self, text: &str) -> io::Result<()> {
        match &self.manager {
            Some(manager) => manager.try_send(&format!("STATUS={}", one_line(text))),
            None => Ok(()),
        }
    }

    /// Sends a watchdog message if one is due at `now` (`CLOCK_MONOTONIC`); most calls only compare
    /// times. If the manager's queue is full, the next call sends it.
    pub fn alive(&mut self, now: Duration) {
        let (Some(manager), Some(watchdog)) = (&self.manager, &mut self.watchdog) else { return };
        let is_due = watchdog.last.is_none_or(|last| now.saturating_sub(last) >= watchdog.limit / 2);
        if is_due && manager.try_send("WATCHDOG=1").is_ok() {
            watchdog.last = Some(now);
        }
    }

    fn send(&self, lines: &str) -> io::Result<()> {
        match &self.manager {
            Some(manager) => manager.socket.send_to_addr(lines.as_bytes(), &manager.address).map(drop),
            None => Ok(()),
        }
    }
}

impl Manager {
    fn try_send(&self, lines: &str) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let sent = self.socket.send_to_addr(lines.as_bytes(), &self.address);
        self.socket.set_nonblocking(false)?;
        sent.map(drop)
    }
}

/// `/path`, or `@name` for an abstract socket.
fn address(name: &OsString) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("invalid NOTIFY_SOCKET '{}': expected /PATH or @NAME", name.display()),
        )),
    }
}

/// The first line of the text: each line is a message of its own.
fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn manager_of(variables: &[(&str, &str)]) -> io::Result<SdNotify> {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        SdNotify::of(variable, 77)
    }

    /// The socket of a manager, and its path.
    fn socket() -> (UnixDatagram, String, tempfile::TempDir) {
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
        let mut absent = manager_of(&[("WATCHDOG_USEC", "1000")]).unwrap();
        assert!(!absent.is_present() && absent.longest_wait().is_none());
        absent.ready("x").unwrap();
        absent.alive(NOW);
        absent.stopping("x").unwrap();
    }

    #[test]
    fn each_state_of_a_service_is_a_message() {
        let (socket, path, _folder) = socket();
        let mut manager = manager_of(&[("NOTIFY_SOCKET", &path)]).unwrap();
        manager.ready("follows one namespace").unwrap();
        assert_eq!(next(&socket), "READY=1\nSTATUS=follows one namespace");
        manager.status("1 lost\nREADY=1").unwrap();
        assert_eq!(next(&socket), "STATUS=1 lost");
        manager.reloading(Duration::from_micros(77)).unwrap();
        assert_eq!(next(&socket), "RELOADING=1\nMONOTONIC_USEC=77");
        manager.stopping("drains").unwrap();
        assert_eq!(next(&socket), "STOPPING=1\nSTATUS=drains");
    }

    #[test]
    fn an_abstract_socket_is_reached() {
        let name = format!("ctnl-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        manager_of(&[("NOTIFY_SOCKET", &format!("@{name}"))]).unwrap().ready("").unwrap();
        assert_eq!(next(&socket), "READY=1\nSTATUS=");
    }

    #[test]
    fn a_restarted_manager_is_reached() {
        let (socket, path, _folder) = socket();
        let mut manager = manager_of(&[("NOTIFY_SOCKET", &path)]).unwrap();
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        assert!(manager.status("lost").is_err());
        let socket = UnixDatagram::bind(&path).unwrap();
        manager.status("again").unwrap();
        assert_eq!(next(&socket), "STATUS=again");
    }

    #[test]
    fn watchdog_messages_are_sent_in_time_and_not_at_every_call() {
        let (socket, path, _folder) = socket();
        let mut manager = manager_of(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "1000000")]).unwrap();
        assert_eq!(manager.longest_wait(), Some(Duration::from_millis(250)));
        let start = NOW;
        for milliseconds in 0..=1000 {
            manager.alive(start + Duration::from_millis(milliseconds));
        }
        for _ in 0..3 {
            assert_eq!(next(&socket), "WATCHDOG=1");
        }
        assert!(is_empty(&socket), "at 0, 500 and 1000 ms");
    }

    #[test]
    fn a_full_socket_of_the_manager_does_not_block_and_the_message_is_sent_later() {
        let (socket, path, _folder) = socket();
        let mut manager = manager_of(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "2")]).unwrap();
        let filler = UnixDatagram::unbound().unwrap();
        filler.set_nonblocking(true).unwrap();
        while filler.send_to(b"x", &path).is_ok() {}
        let now = NOW;
        manager.alive(now);
        while !is_empty(&socket) {}
        manager.alive(now);
        assert_eq!(next(&socket), "WATCHDOG=1");
    }

    #[test]
    fn the_watchdog_of_another_process_is_ignored() {
        let (_socket, path, _folder) = socket();
        let with =
            |pid| manager_of(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", pid)]).unwrap();
        assert!(with("77").longest_wait().is_some());
        assert!(with("78").longest_wait().is_none());
    }

    #[test]
    fn an_invalid_address_is_an_error_and_an_empty_one_is_no_manager() {
        assert!(manager_of(&[("NOTIFY_SOCKET", "notify")]).is_err());
        assert!(!manager_of(&[("NOTIFY_SOCKET", "")]).unwrap().is_present());
    }
}
