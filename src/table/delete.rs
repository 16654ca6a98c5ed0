//! Delete entries.

use super::batch::{Outcome, send_each};
use super::target::Target;
use crate::netlink::{Connection, Error};
use crate::wire::Batch;
use crate::wire::uapi::ipctnl_msg_ct;

/// Deletes `targets` and adds the result of each to `outcome`. An entry that no longer exists, or that
/// has another id by now, counts as gone.
///
/// # Errors
/// A socket call failed or an answer could not be decoded; every target is in `outcome` nevertheless. A
/// delete that the kernel refuses is counted and no error.
#[doc(alias = "IPCTNL_MSG_CT_DELETE")]
pub fn delete(connection: &mut Connection, targets: &[Target], outcome: &mut Outcome) -> Result<(), Error> {
    send_each(connection, OPERATION, targets, outcome, write)
}

pub(super) const OPERATION: &str = "delete entries";

/// Writes the request for one target.
pub(super) fn write(batch: &mut Batch, sequence: u32, flags: u16, target: &Target) {
    batch.push(target.header(ipctnl_msg_ct::DELETE, flags, sequence), |writer| target.emit(writer));
}
