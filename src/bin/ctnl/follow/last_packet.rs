//! When the last packet of an ended connection was, as far as its `destroy` event shows.

use ctnl::age::{Idle, IdleEstimator};
use ctnl::model::{Flow, Status};
use ctnl::output::{ClockSource, EventTime, LastPacket, StartTime};
use ctnl::units::{Nanos, Seconds};

/// A `destroy` event does not name the helper of its entry (`ctnetlink_conntrack_event` in
/// net/netfilter/nf_conntrack_netlink.c), and some helpers set timeouts of their own. Since Linux 6.0 an
/// entry with one has one of these: it was assigned by a rule or over netlink, or it was expected.
const MAY_HAVE_HELPER: Status = Status::Helper.union(Status::Expected);
/// The timeout of an entry is in jiffies; the longest is 10 ms.
const JIFFY: u64 = 10_000_000;

/// The bounds of the last packet of `flow`, from a `destroy` event of a kernel that sends the remaining
/// timeout (Linux 6.1, not 5.10). A timeout of 0 is omitted (`ctnetlink_dump_timeout` in
/// net/netfilter/nf_conntrack_netlink.c), which `killed` shows: false if the kernel would send another one.
///
/// None if they are unknown, and also if the start is: an event does not show either that the entry was
/// made over netlink, whose timeout nobody refreshed. Such an entry gives itself away by an idle time
/// that exceeds its age.
pub(super) fn last_packet(
    ages: &IdleEstimator,
    flow: &Flow,
    start: Option<StartTime>,
    end: EventTime,
    killed: Option<bool>,
) -> Option<LastPacket> {
    let (Some(StartTime::Exact(began) | StartTime::After(began)), false) =
        (start, flow.status.intersects(MAY_HAVE_HELPER))
    else {
        return None;
    };
    let left = flow.timeout.or((killed == Some(false)).then_some(0))?;
    let idle = ages.idle_with_timeout(flow, Seconds(left.into()));
    let before = end.ns.checked_sub(seconds(idle.at_least()?)).filter(|before| *before >= began)?;
    match idle {
        // An expired entry ended at its stop time, long before its event; without a time of the kernel only
        // the time of receiving is known.
        Idle::Exact { at_most, .. } if end.clock == ClockSource::Kernel && (left > 0 || flow.stop.is_some()) => {
            let after = end.ns.saturating_sub(seconds(at_most) + JIFFY).max(began);
            Some(LastPacket { after: Some(after), before })
        }
        _ => Some(LastPacket { after: None, before }),
    }
}

fn seconds(seconds: u32) -> u64 {
    u64::from(seconds) * Nanos::PER_SECOND
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::age::TimeoutContext;
    use ctnl::model::{L4, Protocol, Timeouts, Timer, Tuple};

    use super::*;

    const S: u64 = 1_000_000_000;
    const END: EventTime = EventTime { ns: 1000 * S, clock: ClockSource::Kernel };

    fn udp(left: Option<u32>) -> Flow {
        let [src, dst] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(Into::into);
        let l4 = L4::Ports { src: 1, dst: 2 };
        let tuple = Tuple { src, dst, protocol: Protocol::Udp, l4, ..Tuple::UNSPECIFIED };
        Flow { timeout: left, stop: Some(END.ns), ..Flow::new(tuple, tuple.inverse()) }
    }

    fn timeouts() -> Timeouts {
        Timeouts::default().with(Timer::Udp, 30)
    }

    fn of(flow: &Flow, start: Option<StartTime>, end: EventTime) -> Option<LastPacket> {
        let context = TimeoutContext { timeouts: timeouts(), ..TimeoutContext::default() };
        last_packet(&IdleEstimator::new(&context, end.ns), flow, start, end, Some(flow.timeout.is_some()))
    }

    #[test]
    fn an_expired_entry_was_idle_for_its_timeout_and_a_deleted_one_for_what_had_passed_of_it() {
        let start = Some(StartTime::Exact(S));
        for (left, idle) in [(None, 30), (Some(20), 10)] {
            let LastPacket { after, before } = of(&udp(left), start, END).unwrap();
            assert_eq!((after, before), (Some((1000 - idle) * S - JIFFY), (1001 - idle) * S));
        }
    }

    #[test]
    fn without_a_time_of_the_kernel_only_the_upper_bound_is_known() {
        let received = EventTime { clock: ClockSource::Received, ..END };
        let found = of(&udp(None), Some(StartTime::After(S)), received).unwrap();
        assert_eq!(found, LastPacket { after: None, before: 971 * S });
        let without_stop = Flow { stop: None, ..udp(None) };
        assert_eq!(of(&without_stop, Some(StartTime::Exact(S)), END), Some(found));
    }

    #[test]
    fn the_last_packet_of_a_young_entry_was_not_before_its_first_one() {
        // 1.05 s old, and between 1 and 2 s idle.
        let began = END.ns - S - S / 20;
        let found = of(&udp(Some(28)), Some(StartTime::Exact(began)), END).unwrap();
        assert_eq!(found, LastPacket { after: Some(began), before: END.ns - S });
    }

    #[test]
    fn it_is_unknown_where_the_event_could_mislead() {
        let (start, flow) = (Some(StartTime::Exact(S)), udp(None));
        // Linux 5.10 sends no timeout.
        let ages = IdleEstimator::new(&TimeoutContext { timeouts: timeouts(), ..TimeoutContext::default() }, END.ns);
        assert_eq!(last_packet(&ages, &flow, start, END, None), None);
        // Made over netlink with a timeout of its own, perhaps.
        assert_eq!(of(&flow, Some(StartTime::Before(S)), END), None);
        assert_eq!(of(&flow, None, END), None);
        // It did not exist for so long.
        assert_eq!(of(&flow, Some(StartTime::Exact(990 * S)), END), None);
        for status in [Status::Helper, Status::Expected] {
            assert_eq!(of(&Flow { status, ..flow.clone() }, start, END), None, "{status:?}");
        }
    }
}
