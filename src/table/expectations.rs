//! Reads the expectations.

use super::timeouts::is_unknown_to_kernel;
use crate::model::Expectation;
use crate::netlink::{Connection, Error};
use crate::wire::uapi::{ipctnl_msg_exp, nfnl_subsys};
use crate::wire::{Family, Header};

/// Calls `each` with every expectation of the connection's namespace. One can come twice where another one
/// vanished meanwhile (`ctnetlink_exp_dump_table` in net/netfilter/nf_conntrack_netlink.c). A kernel without
/// helpers has none.
///
/// # Errors
/// What the kernel refuses: `EPERM` without CAP_NET_ADMIN. A message that cannot be decoded.
#[doc(alias = "IPCTNL_MSG_EXP_GET")]
pub fn expectations(connection: &mut Connection, mut each: impl FnMut(Expectation)) -> Result<(), Error> {
    let header = Header {
        subsystem: nfnl_subsys::CTNETLINK_EXP,
        command: ipctnl_msg_exp::GET,
        flags: 0,
        family: Family::UNSPEC,
        sequence: 0,
    };
    let mut stream = connection.dump("list expectations", header, |_| {})?;
    loop {
        match stream.next_datagram(|message| Expectation::decode(message).map(&mut each)) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) if is_unknown_to_kernel(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
