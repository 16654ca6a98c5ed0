//! Read the timeouts of a namespace.

use nix::errno::Errno;

use crate::model::{NOT_IN_NETLINK, TIMERS, Timeouts};
use crate::netlink::{Connection, Error};
use crate::wire::Family;
use crate::wire::uapi::{cttimeout, nfnl_subsys};
use crate::wire::{DecodeError, Header, Message};

/// Reads the default timeouts of the connection's namespace, without timeout policies. Those of a
/// protocol that the kernel does not track are absent, and all of them without
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
        match request(connection, protocol, &mut timeouts) {
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

fn request(connection: &mut Connection, protocol: u8, timeouts: &mut Timeouts) -> Result<(), Error> {
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

/// Reads the timeouts of `protocol` from an answer; an answer for another protocol is ignored.
fn read(message: &Message<'_>, protocol: u8, timeouts: &mut Timeouts) -> Result<(), DecodeError> {
    let (mut answered, mut data) = (None, None);
    for attribute in message.attributes() {
        let attribute = attribute?;
        match attribute.kind {
            cttimeout::L4PROTO => answered = Some(attribute.u8()?),
            cttimeout::DATA => data = Some(attribute),
            _ => {}
        }
    }
    let Some(data) = data.filter(|_| answered == Some(protocol)) else {
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
