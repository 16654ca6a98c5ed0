//! Get one entry.

use nix::errno::Errno;

use crate::model::{Flow, Tuple};
use crate::netlink::{Connection, Error};
use crate::wire::Header;
use crate::wire::uapi::{cta, ipctnl_msg_ct, nfnl_subsys};

/// Gets the entry that has `tuple` in either direction, in zone `zone`. `None` where there is no such
/// entry.
///
/// # Errors
/// What the kernel refuses: `EPERM` without CAP_NET_ADMIN, `EINVAL` for an incomplete tuple.
#[doc(alias = "IPCTNL_MSG_CT_GET")]
pub fn get(connection: &mut Connection, tuple: &Tuple, zone: u16) -> Result<Option<Flow>, Error> {
    let header = Header {
        subsystem: nfnl_subsys::CTNETLINK,
        command: ipctnl_msg_ct::GET,
        flags: 0,
        family: tuple.family(),
        sequence: 0,
    };
    let fill = |writer: &mut crate::wire::AttributeWriter<'_>| {
        tuple.emit(writer, cta::TUPLE_ORIG);
        if zone != 0 {
            writer.put(cta::ZONE, &zone.to_be_bytes());
        }
    };
    let mut found = None;
    let answer = connection.request("get a conntrack entry", header, fill, |message| {
        if Flow::is_in(message) {
            found = Some(Flow::decode(message)?);
        }
        Ok(())
    });
    match answer {
        Ok(()) => Ok(found),
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
