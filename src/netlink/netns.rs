//! Network namespaces: naming them, pinning them, running code inside.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, GetSockOpt, SockFlag, SockType, socket, sockopt};
use nix::sys::statfs::{NSFS_MAGIC, statfs};
use nix::{getsockopt_impl, libc};

use super::error::Error;

/// The folder of the names of `ip netns`.
const NAMED: &str = "/run/netns";

/// `SO_NETNS_COOKIE` (Linux 5.14), which neither libc nor nix defines.
const COOKIE: libc::c_int = if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) { 0x50 } else { 71 };

#[derive(Debug, Clone, Copy)]
struct NetnsCookie;

getsockopt_impl!(NetnsCookie, libc::SOL_SOCKET, COOKIE, u64, sockopt::GetStruct<u64>);

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Netns {
    /// The namespace of the calling thread.
    #[default]
    Current,
    /// The namespace of a file, which is opened each time that the namespace is entered.
    Path(PathBuf),
    /// A pinned namespace.
    Pinned(PinnedNetns),
}

/// A namespace that is kept open. It stays the same one when its process ends and another one
/// gets the PID, or when its name is given to another namespace.
#[derive(Debug, Clone)]
pub struct PinnedNetns {
    path: PathBuf,
    file: Arc<File>,
}

impl PinnedNetns {
    /// The path by which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The inode number, as in `net:[4026531840]`. No other namespace has it while this one is
    /// pinned.
    ///
    /// # Errors
    /// An error of fstat(2).
    pub fn inode(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.ino())
    }
}

impl PartialEq for PinnedNetns {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

impl Eq for PinnedNetns {}

impl Netns {
    /// Parses `NAME` (of `ip netns`), `PID` or `PATH`: digits are a PID, a word with a slash is
    /// a path.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        if word.contains('/') {
            Netns::Path(word.into())
        } else if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
            Netns::Path(format!("/proc/{word}/ns/net").into())
        } else {
            Netns::named(word)
        }
    }

    /// The namespace with this name of `ip netns`, also where the name is a number.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Netns::Path(Path::new(NAMED).join(name))
    }

    /// Opens the file of this namespace and keeps it open, so that it stays the same namespace
    /// also when its path refers to another one later.
    ///
    /// # Errors
    /// [`Error::Netns`] where the file cannot be opened.
    pub fn pin(&self) -> Result<Self, Error> {
        let Netns::Path(path) = self else { return Ok(self.clone()) };
        let file = open_namespace(path).map_err(|error| failed(path, &error))?;
        Ok(Netns::Pinned(PinnedNetns { path: path.clone(), file: Arc::new(file) }))
    }

    /// The cookie of the namespace of the calling thread, which is unique until the next boot (an
    /// inode number can be reused). `None` before Linux 5.14.
    ///
    /// # Errors
    /// An error of socket(2) or getsockopt(2).
    #[doc(alias = "SO_NETNS_COOKIE")]
    pub fn current_cookie() -> io::Result<Option<u64>> {
        let any = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        match NetnsCookie.get(&any) {
            Ok(cookie) => Ok(Some(cookie)),
            Err(Errno::ENOPROTOOPT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Runs `work` inside the namespace; in a new thread unless it is the current namespace.
    ///
    /// # Errors
    /// [`Error::Netns`] where the namespace does not exist, cannot be entered without
    /// CAP_SYS_ADMIN, or no thread can be started (`EAGAIN`).
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let Netns::Pinned(PinnedNetns { path, file }) = self.pin()? else {
            return Ok(work());
        };
        let entered = thread::scope(|scope| {
            let inside = thread::Builder::new().spawn_scoped(scope, || {
                setns(&file, CloneFlags::CLONE_NEWNET)?;
                Ok::<T, io::Error>(work())
            })?;
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        entered.map_err(|error| failed(&path, &error))
    }
}

/// Opens the file of a namespace. What else a path may name is not opened: that of a FIFO waits for a
/// writer, and that of a device may have effects.
fn open_namespace(path: &Path) -> io::Result<File> {
    if statfs(path)?.filesystem_type() != NSFS_MAGIC {
        return Err(Errno::EINVAL.into());
    }
    // The path may name another file by now.
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::Netns { path: path.to_owned(), errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_digits_is_a_process_and_a_slash_makes_a_path() {
        assert_eq!(Netns::parse("42"), Netns::Path("/proc/42/ns/net".into()));
        assert_eq!(Netns::parse("blue"), Netns::Path("/run/netns/blue".into()));
        assert_eq!(Netns::parse("./x"), Netns::Path("./x".into()));
    }

    #[test]
    #[allow(clippy::unwrap_used)]
    fn a_namespace_has_one_cookie() {
        assert_eq!(Netns::current_cookie().unwrap(), Netns::current_cookie().unwrap());
    }
}
