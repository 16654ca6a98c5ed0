//! Delete entries, each named whole.

use super::batch::{Outcome, send_each};
use super::target::Target;
use crate::netlink::{Connection, Error};
use crate::wire::uapi::ipctnl_msg_ct;

/// Deletes `targets` and adds what became of each to `outcome`. An entry that is
/// gone, or whose id is another by now, counts as gone.
///
/// # Errors
/// A socket call failed or an answer could not be read; what was answered before
/// that is in `outcome`. A request that the kernel refuses is counted, not an error.
pub fn delete(connection: &mut Connection, targets: &[Target], outcome: &mut Outcome) -> Result<(), Error> {
    send_each(connection, "delete entries", targets, outcome, |batch, sequence, flags, target| {
        batch.push(target.header(ipctnl_msg_ct::DELETE, flags, sequence), |writer| target.emit(writer));
    })
}
