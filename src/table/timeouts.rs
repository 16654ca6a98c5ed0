//! Ask for the namespace's timeouts.

use nix::errno::Errno;

use crate::model::{NOT_IN_NETLINK, TIMERS, Timeouts};
use crate::netlink::{Connection, Error};
use crate::wire::Family;
use crate::wire::uapi::{cttimeout, nfnl_subsys};
use crate::wire::{DecodeError, Header, Message};

/// Asks the kernel how long its tracker waits in the connection's namespace,
/// apart from policies. What it does not tell is absent: a protocol that it does
/// not track, or everything where it was built without
/// `CONFIG_NF_CONNTRACK_TIMEOUT`.
///
/// # Errors
/// What the kernel refuses: `EPERM` without CAP_NET_ADMIN.
#[doc(alias = "IPCTNL_MSG_TIMEOUT_DEFAULT_GET")]
pub fn timeouts(connection: &mut Connection) -> Result<Timeouts, Error> {
    let mut protocols: Vec<u8> =
        TIMERS.iter().map(|row| row.protocol).filter(|number| *number != NOT_IN_NETLINK).collect();
    protocols.dedup();
    let mut timeouts = Timeouts::default();
    for protocol in protocols {
        match ask(connection, protocol, &mut timeouts) {
            Err(error) if is_unknown_to_kernel(&error) => {}
            answer => answer?,
        }
    }
    Ok(timeouts)
}

/// `EOPNOTSUPP`: no such tracker; `EINVAL`: no such subsystem or command.
pub(super) fn is_unknown_to_kernel(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::EOPNOTSUPP | Errno::EINVAL))
}

fn ask(connection: &mut Connection, protocol: u8, timeouts: &mut Timeouts) -> Result<(), Error> {
    let header = Header {
        subsystem: nfnl_subsys::CTNETLINK_TIMEOUT,
        command: cttimeout::MSG_DEFAULT_GET,
        flags: 0,
        family: Family::UNSPEC,
        sequence: 0,
    };
    connection.request(
        "read the conntrack timeouts",
        header,
        |writer| {
            // The timeouts are the same for every layer 3; the attribute is mandatory.
            writer.put(cttimeout::L3PROTO, &u16::from(Family::V4.number()).to_be_bytes());
            writer.put(cttimeout::L4PROTO, &[protocol]);
        },
        |message| read(message, protocol, timeouts),
    )
}

/// Takes what an answer says about `protocol`; an answer about another one says nothing.
fn read(message: &Message<'_>, protocol: u8, timeouts: &mut Timeouts) -> Result<(), DecodeError> {
    let (mut told, mut data) = (None, None);
    for attribute in message.attributes() {
        let attribute = attribute?;
        match attribute.kind {
            cttimeout::L4PROTO => told = Some(attribute.u8()?),
            cttimeout::DATA => data = Some(attribute),
            _ => {}
        }
    }
    let Some(data) = data.filter(|_| told == Some(protocol)) else {
        return Ok(());
    };
    for attribute in data.nested() {
        let attribute = attribute?;
        let row = TIMERS.iter().find(|row| (row.protocol, row.attribute) == (protocol, attribute.kind));
        if let Some(row) = row {
            timeouts.set(row.timer, attribute.be32()?);
        }
    }
    Ok(())
}
