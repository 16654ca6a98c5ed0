//! Standard error without waiting: a terminal that is stopped (Ctrl-S) or a pipe that nobody reads must
//! not stop who prints.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat, major, minor};

/// Most bytes that are written at once where a write might wait: a pipe that is writable has room for
/// as many (`PIPE_BUF`; `pipe_poll` in fs/pipe.c).
const ATOMIC: usize = 4096;

/// Standard error, or what a test has in its place.
#[derive(Debug)]
pub struct Stderr {
    shared: Shared,
    /// The same terminal or pipe, opened again so as not to wait: the flag on the shared one would also
    /// be that of the shell and of other programs.
    own: Option<File>,
}

#[derive(Debug)]
enum Shared {
    Stderr(io::Stderr),
    #[cfg(test)]
    File(File),
}

impl Stderr {
    /// The standard error of this process.
    pub fn of_this_process() -> Self {
        let stderr = io::stderr();
        Stderr { own: reopen(stderr.as_fd()), shared: Shared::Stderr(stderr) }
    }

    /// `file` in place of standard error.
    #[cfg(test)]
    pub fn of_file(file: File) -> Self {
        Stderr { own: reopen(file.as_fd()), shared: Shared::File(file) }
    }

    /// `file` in place of a standard error that cannot be opened again.
    #[cfg(test)]
    pub fn of_shared_file(file: File) -> Self {
        Stderr { own: None, shared: Shared::File(file) }
    }

    /// Writes as much of `bytes` as is accepted without waiting.
    ///
    /// # Errors
    /// `WouldBlock`, and what write(2) may return.
    pub fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(own) = &mut self.own {
            return own.write(bytes);
        }
        let mut descriptors = [PollFd::new(self.shared.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut descriptors, PollTimeout::ZERO) {
            Ok(0) | Err(Errno::EINTR) => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.shared.write(bytes.get(..ATOMIC).unwrap_or(bytes)),
        }
    }

    /// Writes all of `bytes`, and waits for as long as that takes, also where the descriptor was inherited
    /// with `O_NONBLOCK`.
    ///
    /// # Errors
    /// What write(2) and poll(2) may return.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.shared.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until a write may be accepted.
    fn wait(&self) -> io::Result<()> {
        match poll(&mut [PollFd::new(self.shared.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Shared::Stderr(stderr) => stderr.write(bytes),
            #[cfg(test)]
            Shared::File(file) => file.write(bytes),
        }
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Shared::Stderr(stderr) => stderr.as_fd(),
            #[cfg(test)]
            Shared::File(file) => file.as_fd(),
        }
    }
}

/// A terminal or a pipe can be opened again by its descriptor; a file would get another position, and a
/// socket cannot.
fn reopen(descriptor: BorrowedFd<'_>) -> Option<File> {
    use std::os::fd::AsRawFd;
    let stat = fstat(descriptor).ok()?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    // To open /dev/ptmx, the controlling side of a pseudo-terminal, makes another terminal.
    let is_ptmx = kind == SFlag::S_IFCHR && (major(stat.st_rdev), minor(stat.st_rdev)) == (5, 2);
    if is_ptmx || kind != SFlag::S_IFCHR && kind != SFlag::S_IFIFO {
        return None;
    }
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    File::options().write(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path).ok()
}
