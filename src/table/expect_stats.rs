//! The counters of expectations, by processor.

use crate::netlink::{Connection, Error};
use crate::wire::uapi::{cta_stats_exp, ipctnl_msg_exp, nfnl_subsys};
use crate::wire::{DecodeError, Family, Header, Message};

/// The counters of one processor. The kernel's have 32 bits, and continue from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpectStats {
    /// The number of the processor.
    pub cpu: u16,
    /// Expectations that packets met.
    #[doc(alias = "CTA_STATS_EXP_NEW")]
    pub met: u32,
    /// Created.
    #[doc(alias = "CTA_STATS_EXP_CREATE")]
    pub created: u32,
    /// Deleted, met ones among them.
    #[doc(alias = "CTA_STATS_EXP_DELETE")]
    pub deleted: u32,
}

/// Reads the counters of the connection's namespace, of each processor that the machine may have.
///
/// # Errors
/// As [`super::stats()`].
#[doc(alias = "IPCTNL_MSG_EXP_GET_STATS_CPU")]
pub fn expect_stats(connection: &mut Connection) -> Result<Vec<ExpectStats>, Error> {
    let header = Header {
        subsystem: nfnl_subsys::CTNETLINK_EXP,
        command: ipctnl_msg_exp::GET_STATS_CPU,
        flags: 0,
        family: Family::UNSPEC,
        sequence: 0,
    };
    let mut cpus = Vec::new();
    let mut dump = connection.dump("read the statistics of expectations", header, |_| {})?;
    while dump.next_datagram(|message| {
        cpus.push(decode(message)?);
        Ok(())
    })? {}
    Ok(cpus)
}

/// One message of the dump (`ctnetlink_exp_stat_fill_info` in net/netfilter/nf_conntrack_netlink.c).
fn decode(message: &Message<'_>) -> Result<ExpectStats, DecodeError> {
    let mut stats = ExpectStats { cpu: message.resource()?, ..ExpectStats::default() };
    for attribute in message.attributes() {
        let attribute = attribute?;
        match attribute.kind {
            cta_stats_exp::NEW => stats.met = attribute.be32()?,
            cta_stats_exp::CREATE => stats.created = attribute.be32()?,
            cta_stats_exp::DELETE => stats.deleted = attribute.be32()?,
            _ => {}
        }
    }
    Ok(stats)
}
