//! What is said where /proc is missing.

use anyhow::{Result, bail};
use ctnl::host::Host;

/// Fails unless /proc is mounted, which `user` needs.
///
/// # Errors
/// It is not; the error has the command that mounts it.
pub fn require(host: &Host, user: &str) -> Result<()> {
    let proc = host.proc();
    if std::fs::read_link(proc.join("self")).is_err() {
        let proc = proc.display();
        bail!("{user} needs {proc}, which is not mounted\n  hint: mount -t proc proc {proc}");
    }
    Ok(())
}

/// Whether the settings of the kernel are there: in a container, /proc may be mounted without them
/// (`subset=pid`).
pub fn has_sysctls(host: &Host) -> bool {
    host.proc().join("sys").is_dir()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::clock::Clock;

    use super::*;

    #[test]
    fn what_needs_proc_says_so_where_it_is_not_mounted() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path(), Clock::system());
        let error = require(&host, "--all-netns").unwrap_err().to_string();
        let proc = folder.path().join("proc").display().to_string();
        assert_eq!(error, format!("--all-netns needs {proc}, which is not mounted\n  hint: mount -t proc proc {proc}"));
        assert!(!has_sysctls(&host));
        assert!(require(&Host::system(), "--all-netns").is_ok() && has_sysctls(&Host::system()));
    }
}
