//! The lab's namespaces: user, network, mount, UTS, IPC and PID.

use std::fs;
use std::io;

use anyhow::{Context, Result};
use caps::{CapSet, Capability};
use ctnl::host::Host;
use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sched::CloneFlags;

use crate::host::new_namespaces;

const PRIVATE: CloneFlags = CloneFlags::CLONE_NEWNET
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWPID);

/// Capabilities over what no namespace makes private. In a user namespace they give nothing; where
/// root has to do without one, the lab must not have them.
const OF_THE_HOST: [Capability; 11] = [
    Capability::CAP_SYS_BOOT,
    Capability::CAP_SYS_TIME,
    Capability::CAP_SYS_MODULE,
    Capability::CAP_SYS_RAWIO,
    Capability::CAP_SYSLOG,
    Capability::CAP_MKNOD,
    Capability::CAP_AUDIT_CONTROL,
    Capability::CAP_MAC_ADMIN,
    Capability::CAP_MAC_OVERRIDE,
    Capability::CAP_WAKE_ALARM,
    Capability::CAP_BLOCK_SUSPEND,
];

/// Moves the calling process into namespaces of its own, as root of them. The PID namespace is
/// that of its next child, which must be its only one: a second is refused once the first has ended.
///
/// The process must have a single thread.
pub fn enter(host: &Host) -> Result<()> {
    new_namespaces::enter(PRIVATE, host)
}

/// Drops, for this process and its children, the capabilities over the host as a whole.
pub fn drop_host_capabilities() {
    for capability in OF_THE_HOST {
        // An older kernel does not have all of them; a caller without CAP_SETPCAP has none.
        let _ = caps::drop(None, CapSet::Bounding, capability);
    }
}

/// Sets `lo` up, so that programs in the lab can connect to each other.
pub fn raise_loopback() -> Result<()> {
    let failed = "cannot set the loopback interface up";
    let mut socket = Socket::new(NETLINK_ROUTE).context(failed)?;
    socket.bind_auto().context(failed)?;
    socket.connect(&SocketAddr::new(0, 0)).context(failed)?;
    socket.send(&loopback_request(), 0).context(failed)?;
    let (reply, _) = socket.recv_from_full().context(failed)?;
    // An ACK is NLMSG_ERROR with the number 0 behind its header.
    match reply.get(16..20).map(|code| i32::from_ne_bytes(code.try_into().unwrap_or_default())) {
        Some(0) => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code.unwrap_or(0))).context(failed),
    }
}

/// `RTM_NEWLINK` with a bare `struct ifinfomsg`: interface 1, `IFF_UP` set.
fn loopback_request() -> [u8; 32] {
    const RTM_NEWLINK: u16 = 16;
    const LOOPBACK_INDEX: u32 = 1;
    const IFF_UP: u32 = 1;
    let mut header = NetlinkHeader::default();
    header.length = 32;
    header.message_type = RTM_NEWLINK;
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut request = [0; 32];
    header.emit(&mut request);
    // family and type, index, flags, change mask
    let words = [0, LOOPBACK_INDEX, IFF_UP, IFF_UP];
    for (place, word) in request.iter_mut().skip(16).zip(words.into_iter().flat_map(u32::to_ne_bytes)) {
        *place = word;
    }
    request
}

/// Writes `/proc/sys/net/netfilter/nf_conntrack_NAME` of this process's namespace.
pub fn set_sysctl(host: &Host, name: &str, value: u32) -> Result<()> {
    let path = host.netfilter().root().join(format!("nf_conntrack_{name}"));
    fs::write(&path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
}
