//! What is read of the host: once, before any check runs, and as plain values, so that a check is a function that
//! a test calls with a made-up host.

use ctnl::host::Host;
use ctnl::netlink::Netns;
use ctnl::units::Seconds;

use crate::host::conntrack_sysctls::ConntrackSysctls;

/// What was read, or why it is missing.
pub type Reading<T> = Result<T, String>;

/// Everything that the checks look at.
#[derive(Debug)]
pub struct Evidence {
    /// The files.
    pub host: Host,
    /// The values of conntrack's sysctls.
    pub sysctls: Reading<ConntrackSysctls>,
}

/// Where the evidence is.
#[derive(Debug, Clone)]
pub struct Source {
    /// The files and the clock.
    pub host: Host,
    /// The network namespace; `None` for files below another root, of which there is no running kernel.
    pub netns: Option<Netns>,
    /// The time over which counters are measured.
    pub window: Seconds,
}

impl Evidence {
    /// Reads everything.
    pub fn gather(source: &Source) -> Self {
        let sysctls = in_netns(source, || ConntrackSysctls::read(&source.host).map_err(|error| cannot_read(&error)));
        Evidence { host: source.host.clone(), sysctls }
    }
}

fn cannot_read(error: &std::io::Error) -> String {
    format!("/proc/sys/net/netfilter cannot be read: {error}")
}

/// Runs `read` in the namespace of `source`: what /proc/sys/net shows depends on the reading thread.
fn in_netns<T: Send>(source: &Source, read: impl FnOnce() -> Reading<T> + Send) -> Reading<T> {
    match &source.netns {
        Some(netns) => netns.run(read).map_err(|error| error.to_string())?,
        None => read(),
    }
}
