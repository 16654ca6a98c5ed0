//! Network namespaces, and how to open a socket or read a sysctl in one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

use super::error::Error;

/// Where `ip netns add` keeps its names.
const NAMED: &str = "/run/netns";

/// A network namespace, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Netns {
    /// The namespace of the calling thread.
    #[default]
    Current,
    /// The namespace that a file stands for.
    Path(PathBuf),
}

impl Netns {
    /// `NAME` (of `ip netns`), `PID` or `PATH`. A word of digits is a process,
    /// a word with a slash a path.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        if word.contains('/') {
            Netns::Path(word.into())
        } else if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
            Netns::Path(format!("/proc/{word}/ns/net").into())
        } else {
            Netns::Path(Path::new(NAMED).join(word))
        }
    }

    /// Runs `work` inside the namespace, in a thread of its own where it is not
    /// the current one.
    ///
    /// # Errors
    /// [`Error::Netns`] when the namespace does not exist or may not be entered
    /// (that takes CAP_SYS_ADMIN).
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let Netns::Path(path) = self else {
            return Ok(work());
        };
        let failed = |error: io::Error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
            Error::Netns { path: path.clone(), errno }
        };
        let file = File::open(path).map_err(failed)?;
        let entered = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&file, CloneFlags::CLONE_NEWNET)?;
                Ok::<T, io::Error>(work())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        entered.map_err(failed)
    }
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
}
