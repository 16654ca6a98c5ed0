//! The DESTROY events of flows that a program deleted, and how long each flow had been idle, computed
//! from its remaining timeout.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ctnl::model::Event;
use ctnl::netlink::Netns;
use ctnl::table::{Events, Step, Subscription};
use ctnl_test_support::net::{INSIDE, INSIDE6};

use super::disturbance::{CHANGED, TIMEOUTS};

/// Other timeouts of the traffic's flows: picked up in the middle, unreplied, new.
const OTHERS: [u32; 3] = [300, 120, 30];

/// A subscription to DESTROY events.
pub struct DestroyMonitor {
    events: Events,
    event: Event,
}

impl DestroyMonitor {
    pub fn new() -> Result<Self> {
        let subscription =
            Subscription { new: false, update: false, destroy: true, buffer: 256 << 20, ..Subscription::default() };
        let events = Events::subscribe(&Netns::Current, &subscription).context("subscribe to DESTROY events")?;
        Ok(DestroyMonitor { events, event: Event::blank() })
    }

    /// Reads the events since the last call. Returns how many flows of the traffic a program deleted,
    /// and how many of these had a packet within `older`.
    pub fn check(&mut self, older: Duration) -> Result<(u64, u64)> {
        let (mut checked, mut cut) = (0, 0);
        loop {
            match self.events.next(&mut self.event)? {
                Step::Event => {}
                Step::Empty => return Ok((checked, cut)),
                step => ensure!(matches!(step, Step::Expectation), "an event was lost or unreadable: {step:?}"),
            }
            let flow = &self.event.flow;
            let inside = [IpAddr::from(INSIDE), INSIDE6.into()];
            let is_traffic = inside.contains(&flow.orig.src) || inside.contains(&flow.orig.dst);
            if self.event.port == 0 || !is_traffic {
                continue;
            }
            checked += 1;
            cut += u64::from(idle(flow.timeout.unwrap_or(0)).is_some_and(|idle| u64::from(idle) < older.as_secs()));
        }
    }
}

/// The idle time in seconds of a flow with `left` seconds left. Flows are deleted after a few seconds
/// of silence, so of all possible timeouts the flow had the shortest that is not below `left`.
fn idle(left: u32) -> Option<u32> {
    let timeouts = TIMEOUTS.iter().chain(&CHANGED).map(|(_, seconds)| *seconds).chain(OTHERS);
    timeouts.filter_map(|timeout| timeout.checked_sub(left)).min()
}
