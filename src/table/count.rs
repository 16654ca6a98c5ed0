//! How full the table is.

use crate::netlink::{Connection, Error};
use crate::wire::Family;
use crate::wire::Header;
use crate::wire::uapi::{cta_stats_global, ipctnl_msg_ct, nfnl_subsys};

/// Entries of a namespace against the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Occupancy {
    /// Entries, with those that have expired but are not yet collected.
    #[doc(alias = "CTA_STATS_GLOBAL_ENTRIES")]
    pub entries: u32,
    /// `nf_conntrack_max`, 0 for no limit: one number for all namespaces, held
    /// against each namespace's own entries. None before Linux 4.19.
    #[doc(alias = "CTA_STATS_GLOBAL_MAX_ENTRIES")]
    pub max: Option<u32>,
}

/// Asks the kernel for the number of entries, without a dump.
///
/// # Errors
/// What the kernel refuses.
pub fn count(connection: &mut Connection) -> Result<Occupancy, Error> {
    let header = Header {
        subsystem: nfnl_subsys::CTNETLINK,
        command: ipctnl_msg_ct::GET_STATS,
        flags: 0,
        family: Family::UNSPEC,
        sequence: 0,
    };
    let mut occupancy = Occupancy::default();
    connection.request(
        "count the conntrack table",
        header,
        |_| {},
        |message| {
            for attribute in message.attributes() {
                let attribute = attribute?;
                match attribute.kind {
                    cta_stats_global::ENTRIES => occupancy.entries = attribute.be32()?,
                    cta_stats_global::MAX_ENTRIES => occupancy.max = Some(attribute.be32()?),
                    _ => {}
                }
            }
            Ok(())
        },
    )?;
    Ok(occupancy)
}
