//! What to do next, for the errors that people meet.

use ctnl::netlink::Error;
use nix::errno::Errno;

/// The next step after `error`, where there is one.
pub fn hint(error: &Error) -> Option<&'static str> {
    match (error, error.errno()?) {
        (Error::Netns { .. }, Errno::ENOENT) => Some(
            "there is no such namespace: `ip netns list` shows those with a name, and a PID or the path of a \
             namespace file is understood too",
        ),
        (Error::Netns { .. }, Errno::EPERM | Errno::EACCES) => {
            Some("entering another namespace takes CAP_SYS_ADMIN: run it as root (sudo)")
        }
        (Error::Netns { .. }, Errno::EINVAL) => Some("the file is not that of a network namespace"),
        (_, Errno::EPERM | Errno::EACCES) => Some(
            "this takes CAP_NET_ADMIN in the network namespace: run it as root (sudo), or give the program the \
             capability (setcap cap_net_admin+ep)",
        ),
        (Error::Socket { .. }, Errno::EPROTONOSUPPORT) => {
            Some("this kernel has no nfnetlink: load it with `modprobe nfnetlink`, or CONFIG_NETFILTER_NETLINK is off")
        }
        (Error::Refused(_), Errno::EINVAL | Errno::EOPNOTSUPP) => Some(
            "if every request ends like this, conntrack over netlink is missing: `modprobe nf_conntrack_netlink` \
             loads it (CONFIG_NF_CT_NETLINK)",
        ),
        (_, Errno::ENOBUFS) => Some("the kernel dropped answers because the receive queue was full: try again"),
        (_, Errno::EBUSY) => Some("another dump is running on the same socket: try again"),
        _ => None,
    }
}
