//! Change entries that exist.

use super::batch::{Outcome, send_each};
use super::target::Target;
use crate::netlink::{Connection, Error};
use crate::wire::uapi::{cta, ipctnl_msg_ct};

/// Sets the time left of `targets` to `seconds`. A flow in use gets its full
/// timeout back with its next packet, an idle one vanishes.
///
/// The kernel does not compare the id here, so a flow that took the tuple over
/// in between is given `seconds` too, and has its next packet to recover.
///
/// # Errors
/// As [`super::delete()`]. Entries with a fixed timeout refuse with `EPERM`.
pub fn lower_timeout(
    connection: &mut Connection,
    targets: &[Target],
    seconds: u32,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    send_each(connection, "lower timeouts", targets, outcome, |batch, sequence, flags, target| {
        batch.push(target.header(ipctnl_msg_ct::NEW, flags, sequence), |writer| {
            target.emit(writer);
            writer.put(cta::TIMEOUT, &seconds.to_be_bytes());
        });
    })
}
