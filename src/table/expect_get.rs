//! Get a single expectation.

use nix::errno::Errno;

use super::expectation_target::{emit_tuple, header};
use crate::model::{Expectation, Tuple};
use crate::netlink::{Connection, Error};
use crate::wire::uapi::ipctnl_msg_exp;

/// Gets the expectation whose tuple, under its mask, is `tuple`, and whose master is in zone `zone`. Where several are,
/// the kernel returns the first one (`__nf_ct_expect_find` in net/netfilter/nf_conntrack_expect.c). `None` where
/// there is none.
///
/// # Errors
/// What the kernel refuses: `EPERM` without CAP_NET_ADMIN, `EINVAL` for an incomplete tuple.
#[doc(alias = "IPCTNL_MSG_EXP_GET")]
pub fn expect_get(connection: &mut Connection, tuple: &Tuple, zone: u16) -> Result<Option<Expectation>, Error> {
    let mut found = None;
    let answer = connection.request(
        "get an expectation",
        header(tuple.family(), ipctnl_msg_exp::GET, 0, 0),
        |writer| emit_tuple(writer, tuple, zone),
        |message| {
            if Expectation::is_in(message) {
                found = Some(Expectation::decode(message)?);
            }
            Ok(())
        },
    );
    match answer {
        Ok(()) => Ok(found),
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
