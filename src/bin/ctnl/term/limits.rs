//! The resource limits of the process.

use anyhow::{Result, bail};
use ctnl::units::Bytes;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Least address space. With less, an allocation may fail, at which a Rust program aborts; a debug build
/// is larger.
const LEAST: Bytes = Bytes(if cfg!(debug_assertions) { 48 << 20 } else { 20 << 20 });

/// What is tried where a thread cannot be started, and what limits them, of which the kernel's EAGAIN shows nothing.
pub const START_THREAD: &str = "start a thread (limited by RLIMIT_NPROC, by RLIMIT_AS, and by pids.max of the cgroup)";

/// Fails where the process may not use enough address space to run (`ulimit -v`).
///
/// # Errors
/// The limit.
pub fn check_address_space() -> Result<()> {
    check(getrlimit(Resource::RLIMIT_AS).map_or(u64::MAX, |(soft, _)| soft))
}

fn check(limit: u64) -> Result<()> {
    if limit < LEAST.0 {
        bail!(
            "the address space is limited to {} (RLIMIT_AS): too little to run\n  hint: ulimit -v {}, or more",
            Bytes(limit),
            LEAST.0 / 1024
        );
    }
    Ok(())
}

/// Raises the soft limit of open files to the hard one, which is returned: the usual soft limit is 1024.
///
/// # Errors
/// An error of setrlimit(2).
pub fn raise_open_files() -> Result<u64, Errno> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_address_space_in_which_the_program_could_abort_is_an_error() {
        assert!(check(LEAST.0).is_ok() && check(u64::MAX).is_ok());
        let error = check(12_500 * 1024).unwrap_err().to_string();
        assert!(error.contains("RLIMIT_AS") && error.contains("ulimit -v"), "{error}");
    }
}
