//! What a saved entry is created as.

use ctnl::model::{Flow, ProtoInfo, Protocol, Status, TcpInfo, TcpState, Timeouts, Timer};
use ctnl::units::Nanos;

use super::zone_map::ZoneMap;

/// TCP's timeout of ESTABLISHED where it cannot be read: the kernel's for unacknowledged data, which the next packet
/// replaces.
const UNKNOWN_TIMEOUT: u32 = 300;

/// Why an entry of the file is not created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotCreated {
    /// Its timeout has run out since it was saved.
    Expired,
    /// Its tuples are not complete, or have a part that the version that saved them did not know.
    Incomplete,
}

/// Changes saved entries into those that are created.
#[derive(Debug)]
pub(super) struct Preparation {
    pub(super) zones: ZoneMap,
    /// Whether timeouts are lowered by the time since they were saved.
    pub(super) ages: bool,
    /// Those of the namespace.
    pub(super) timeouts: Timeouts,
}

impl Preparation {
    /// Changes `flow`, which was saved at `saved`, into what is created `now`.
    pub(super) fn prepare(&self, flow: &mut Flow, saved: Option<Nanos>, now: Nanos) -> Result<(), NotCreated> {
        let is_complete = flow.orig.is_complete() && flow.reply.is_complete();
        if !is_complete || flow.family != flow.orig.family() || flow.reply.family() != flow.family {
            return Err(NotCreated::Incomplete);
        }
        self.zones.apply(flow);
        let was_offloaded = flow.is_offloaded() || flow.timeout.is_none();
        let left = flow.timeout.unwrap_or_else(|| self.timeout_of_offloaded(flow));
        let since = if self.ages { saved.map_or(0, |saved| now.since(saved).seconds().0) } else { 0 };
        let left = u64::from(left).saturating_sub(since);
        flow.timeout = match u32::try_from(left).unwrap_or(u32::MAX) {
            // The kernel creates an entry with a timeout of 0 as one that has expired.
            0 if self.ages => return Err(NotCreated::Expired),
            0 => Some(1),
            left => Some(left),
        };
        if was_offloaded {
            restore_tracking(flow);
        }
        Ok(())
    }

    /// A dump has neither timeout nor state of a flow in a flowtable (`ctnetlink_fill_info` in
    /// net/netfilter/nf_conntrack_netlink.c). It gets the timeout that a packet would set.
    fn timeout_of_offloaded(&self, flow: &Flow) -> u32 {
        let timer = match flow.orig.protocol {
            Protocol::Tcp => Timer::TcpEstablished,
            Protocol::Udp | Protocol::UdpLite if flow.status.contains(Status::Assured) => Timer::UdpStream,
            Protocol::Udp | Protocol::UdpLite => Timer::Udp,
            Protocol::Gre => Timer::GreStream,
            _ => Timer::Generic,
        };
        self.timeouts.get(timer).unwrap_or(UNKNOWN_TIMEOUT)
    }
}

/// Only established flows enter a flowtable (`nft_flow_offload_eval` in net/netfilter/nft_flow_offload.c).
fn restore_tracking(flow: &mut Flow) {
    if flow.orig.protocol == Protocol::Tcp && flow.protoinfo == ProtoInfo::None {
        flow.protoinfo = ProtoInfo::Tcp(TcpInfo { state: TcpState::Established, ..TcpInfo::default() });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::units::Seconds;

    use super::*;
    use crate::fake;

    fn preparation(ages: bool) -> Preparation {
        let timeouts = Timeouts::kernel_defaults();
        Preparation { zones: ZoneMap::default(), ages, timeouts }
    }

    fn left(timeout: Option<u32>, ages: bool, since: u64) -> Result<u32, NotCreated> {
        let mut flow = Flow { timeout, ..fake::flow(1) };
        let saved = Nanos::from(Seconds(1000));
        preparation(ages).prepare(&mut flow, Some(saved), saved.plus(Nanos(since)))?;
        Ok(flow.timeout.unwrap())
    }

    #[test]
    fn a_timeout_is_lowered_by_the_time_since_it_was_saved() {
        const SECOND: u64 = Nanos::PER_SECOND;
        assert_eq!(left(Some(100), true, 0), Ok(100));
        assert_eq!(left(Some(100), true, 30 * SECOND + 999), Ok(70));
        assert_eq!(left(Some(100), true, 99 * SECOND), Ok(1));
        assert_eq!(left(Some(100), true, 100 * SECOND), Err(NotCreated::Expired));
        assert_eq!(left(Some(100), true, u64::MAX / 2), Err(NotCreated::Expired));
        assert_eq!(left(Some(0), true, 0), Err(NotCreated::Expired));
        assert_eq!(left(Some(100), false, 1000 * SECOND), Ok(100));
        assert_eq!(left(Some(0), false, 0), Ok(1));
    }

    #[test]
    fn a_file_without_times_and_one_of_the_future_age_nothing() {
        let mut flow = Flow { timeout: Some(100), ..fake::flow(1) };
        preparation(true).prepare(&mut flow, None, Nanos::from(Seconds(5000))).unwrap();
        preparation(true).prepare(&mut flow, Some(Nanos::from(Seconds(9000))), Nanos(0)).unwrap();
        assert_eq!(flow.timeout, Some(100));
    }

    #[test]
    fn a_flow_of_a_flowtable_is_created_as_one_that_is_tracked() {
        let mut flow = Flow { timeout: None, status: Status::Offload | Status::Assured, ..fake::flow(1) };
        flow.orig.protocol = Protocol::Tcp;
        flow.reply.protocol = Protocol::Tcp;
        preparation(true).prepare(&mut flow, None, Nanos(0)).unwrap();
        assert_eq!(flow.timeout, Some(432_000));
        assert!(matches!(flow.protoinfo, ProtoInfo::Tcp(TcpInfo { state: TcpState::Established, .. })));
    }

    #[test]
    fn an_entry_whose_tuple_is_not_known_in_full_is_not_created() {
        let mut flow = Flow { timeout: Some(100), ..fake::flow(1) };
        flow.reply.has_unknown_part = true;
        assert_eq!(preparation(true).prepare(&mut flow, None, Nanos(0)), Err(NotCreated::Incomplete));
    }
}
