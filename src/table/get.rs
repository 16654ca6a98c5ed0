//! Ask for one entry.

use nix::errno::Errno;

use crate::model::{Flow, Tuple};
use crate::netlink::{Connection, Error};
use crate::wire::Header;
use crate::wire::uapi::{cta, ipctnl_msg_ct, nfnl_subsys};

/// The entry that `tuple` belongs to, in zone `zone`: the tuple of either of its
/// directions. None where there is none.
///
/// # Errors
/// What the kernel refuses; `EINVAL` for a tuple that is not complete.
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
