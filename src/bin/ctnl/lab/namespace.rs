//! A user and a network namespace of our own: no privilege needed, and whatever
//! happens in them happens to nobody else.

use std::fs;
use std::io;

use anyhow::{Context, Result, anyhow};
use ctnl::host::Host;
use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Moves the calling process into namespaces of its own, as root of them.
///
/// Only works while the process has a single thread: a user namespace is for
/// whole processes.
pub fn enter(host: &Host) -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    match unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET) {
        Ok(()) => become_root(host, uid.as_raw(), gid.as_raw())?,
        // Who is root already can do without a user namespace where those are off.
        Err(refused) => unshare(CloneFlags::CLONE_NEWNET).map_err(|_| forbidden(host, refused))?,
    }
    Ok(())
}

/// Maps the caller to root, in the order that the kernel asks for.
fn become_root(host: &Host, uid: u32, gid: u32) -> Result<()> {
    let write = |file: &str, line: String| {
        let path = host.proc().join("self").join(file);
        fs::write(&path, line).with_context(|| format!("cannot write {}: {}", path.display(), remedy(host)))
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

fn forbidden(host: &Host, errno: Errno) -> anyhow::Error {
    anyhow!("cannot make a private namespace: {errno:?}: {}\n  {}", errno.desc(), remedy(host))
}

/// What stands in the way, as far as the host says, and how to clear it.
fn remedy(host: &Host) -> String {
    let switches = [
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ];
    let value = |name: &str| fs::read_to_string(host.proc().join("sys").join(name)).unwrap_or_default();
    match switches.iter().find(|(name, off, _)| value(name).trim() == *off) {
        Some((_, _, setting)) => {
            format!("this host keeps user namespaces from ordinary users: run 'sysctl -w {setting}' as root, or run this as root")
        }
        None => "in a container, its seccomp profile or missing CAP_SYS_ADMIN forbids it: run this on the host, or start the \
                 container with '--privileged' (or '--security-opt seccomp=unconfined')"
            .into(),
    }
}

/// Takes `lo` up, so that programs can talk to themselves.
pub fn raise_loopback() -> Result<()> {
    let failed = "cannot take the loopback interface up";
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

/// Writes `/proc/sys/net/netfilter/nf_conntrack_NAME` of this thread's namespace.
pub fn set_sysctl(host: &Host, name: &str, value: u32) -> Result<()> {
    let path = host.netfilter().root().join(format!("nf_conntrack_{name}"));
    fs::write(&path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
}
