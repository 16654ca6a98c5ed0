//! The number of entries in the table.

use crate::netlink::{Connection, Error};
use crate::wire::Family;
use crate::wire::Header;
use crate::wire::uapi::{cta_stats_global, ipctnl_msg_ct, nfnl_subsys};

/// Entries of a namespace, and the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Occupancy {
    /// Entries, including expired ones that are not yet collected.
    #[doc(alias = "CTA_STATS_GLOBAL_ENTRIES")]
    pub entries: u32,
    /// `nf_conntrack_max`, 0 for no limit: one setting for all namespaces, compared with the entries of
    /// each one (`__nf_conntrack_alloc` in net/netfilter/nf_conntrack_core.c). `None` before Linux 4.19.
    #[doc(alias = "CTA_STATS_GLOBAL_MAX_ENTRIES")]
    pub max: Option<u32>,
}

/// Reads the number of entries from the kernel's counter, without a dump.
///
/// # Errors
/// What the kernel refuses: `EPERM` without CAP_NET_ADMIN, `EINVAL` without nf_conntrack_netlink.
#[doc(alias = "IPCTNL_MSG_CT_GET_STATS")]
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
