//! Change existing entries.

use super::batch::{Outcome, send_each};
use super::target::Target;
use crate::netlink::{Connection, Error};
use crate::wire::Batch;
use crate::wire::uapi::{cta, ipctnl_msg_ct};

/// Sets the remaining timeout of `targets` to `seconds`. The next packet of a live flow restores its
/// full timeout, an idle flow expires.
///
/// The kernel does not compare the id (`ctnetlink_change_conntrack` in
/// net/netfilter/nf_conntrack_netlink.c), so a new flow with the same tuple gets `seconds` too, until its
/// next packet.
///
/// # Errors
/// As [`super::delete()`]. For an entry with a fixed timeout, the kernel refuses with `EPERM`.
#[doc(alias = "IPCTNL_MSG_CT_NEW")]
#[doc(alias = "CTA_TIMEOUT")]
pub fn lower_timeout(
    connection: &mut Connection,
    targets: &[Target],
    seconds: u32,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    send_each(connection, OPERATION, targets, outcome, |batch, sequence, flags, target| {
        write(batch, sequence, flags, target, seconds);
    })
}

pub(super) const OPERATION: &str = "lower timeouts";

/// Writes the request for one target.
pub(super) fn write(batch: &mut Batch, sequence: u32, flags: u16, target: &Target, seconds: u32) {
    batch.push(target.header(ipctnl_msg_ct::NEW, flags, sequence), |writer| {
        target.emit(writer);
        writer.put(cta::TIMEOUT, &seconds.to_be_bytes());
    });
}
