//! Hints for common kernel errors.

use std::path::Path;

use ctnl::netlink::Error;
use nix::errno::Errno;

/// What to do about `error`.
pub fn hint(error: &Error) -> Option<&'static str> {
    match (error, error.errno()?) {
        (Error::Netns { path, .. }, Errno::ENOENT)
            if path.starts_with("/proc") && !Path::new("/proc/self").exists() =>
        {
            Some(
                "/proc is not mounted: mount -t proc proc /proc, or use a name of `ip netns` or the path of a namespace file",
            )
        }
        (Error::Netns { .. }, Errno::ENOENT) => Some(
            "no such namespace: `ip netns list` lists those with a name; a PID or the path of a namespace file is \
             accepted too",
        ),
        (Error::Netns { .. }, Errno::EPERM | Errno::EACCES) => {
            Some("entering another namespace requires CAP_SYS_ADMIN: run it as root (sudo)")
        }
        (Error::Netns { .. }, Errno::EINVAL) => Some("the file is not that of a network namespace"),
        (Error::Netns { .. }, Errno::EAGAIN) => {
            Some("entering another namespace requires a thread: check `ulimit -u` and the pids limit of the cgroup")
        }
        (_, Errno::EPERM | Errno::EACCES) => Some(
            "CAP_NET_ADMIN in the network namespace is required: run it as root (sudo), or give the program \
             the capability (setcap cap_net_admin+ep)",
        ),
        (Error::Socket { .. }, Errno::EPROTONOSUPPORT) => {
            Some("the kernel has no nfnetlink: load it with `modprobe nfnetlink` (CONFIG_NETFILTER_NETLINK)")
        }
        (Error::Refused(_), Errno::EINVAL | Errno::EOPNOTSUPP) => Some(
            "if every request fails like this, the kernel has no ctnetlink: load it with `modprobe \
             nf_conntrack_netlink` (CONFIG_NF_CT_NETLINK)",
        ),
        (_, Errno::ENOBUFS) => Some("the receive queue was full and the kernel dropped messages: try again"),
        (_, Errno::EBUSY) => Some("another dump is running on the same socket: try again"),
        _ => None,
    }
}
