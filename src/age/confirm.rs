//! Two samples: a flow whose expiry did not change had no packet in between.
//!
//! This needs no timeout to be known. Each accepted packet sets expiry = now + C. Let the last packet
//! before the first sample arrive at p, and one at q between the samples. With the same C, the expiry
//! changes by q - p; so q is at most as much later than the first sample as the expiry has changed. The
//! expiry is known to a second or two, since the kernel rounds the remaining timeout to seconds. With
//! another C the expiry changes by more, and what C depends on is compared as well.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::model::{Flow, ProtoInfo, Status, Undecided};
use crate::table::SampledAt;

const NANOSECONDS: u64 = 1_000_000_000;
/// The longest jiffy of any kernel (HZ=100).
const JIFFY: u64 = 10_000_000;

/// The result of two samples of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// No packet was accepted in the last `at_least` seconds before the second sample.
    Idle {
        /// Seconds, rounded down: up to [`IdleConfirmation::UNCERTAINTY`] less than the time between the samples.
        at_least: u32,
    },
    /// A packet was accepted, or the entry is another one, or a program wrote its timeout.
    Active,
    /// Two samples cannot show it.
    Unknown(Undecided),
}

/// The first samples of many flows, some 64 bytes for each.
#[derive(Debug, Default)]
pub struct IdleConfirmation {
    samples: HashMap<u64, Sample, RandomState>,
}

/// A sample of a flow.
#[derive(Debug, Clone, Copy)]
struct Sample {
    taken: SampledAt,
    left: u32,
    /// A hash of what C depends on, and of what differs between an entry and its successor.
    state: u64,
    packets: Option<u64>,
}

impl IdleConfirmation {
    /// How many seconds less than the time between the samples may be confirmed.
    pub const UNCERTAINTY: u32 = 3;

    /// Without samples.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the first sample of `flow`.
    ///
    /// # Errors
    /// Why two samples of this flow cannot show that it is idle.
    pub fn first(&mut self, flow: &Flow, taken: SampledAt) -> Result<(), Undecided> {
        let sample = self.sample(flow, taken)?;
        self.samples.insert(self.key(flow), sample);
        Ok(())
    }

    /// Compares a second sample of `flow` with the first one.
    #[must_use]
    pub fn second(&self, flow: &Flow, taken: SampledAt) -> Confirmed {
        let second = match self.sample(flow, taken) {
            Ok(sample) => sample,
            Err(reason) => return Confirmed::Unknown(reason),
        };
        self.samples.get(&self.key(flow)).map_or(Confirmed::Active, |first| compare(first, &second))
    }

    /// The number of first samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is no first sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    fn sample(&self, flow: &Flow, taken: SampledAt) -> Result<Sample, Undecided> {
        let left = expiry_shows_packets(flow)?;
        let mut state = self.samples.hasher().build_hasher();
        (flow.status.bits(), flow.start, flow.id, flow.helper).hash(&mut state);
        hash_protocol_state(flow.protoinfo, &mut state);
        Ok(Sample { taken, left, state: state.finish(), packets: flow.packets() })
    }

    fn key(&self, flow: &Flow) -> u64 {
        self.samples.hasher().hash_one((flow.orig, flow.zone(), flow.reply))
    }
}

/// The remaining timeout, if every accepted packet changes the expiry.
fn expiry_shows_packets(flow: &Flow) -> Result<u32, Undecided> {
    if flow.is_offloaded() {
        return Err(Undecided::Offloaded);
    }
    if flow.status.contains(Status::Untracked) {
        return Err(Undecided::NatClash);
    }
    if flow.status.contains(Status::FixedTimeout) {
        return Err(Undecided::FixedTimeout);
    }
    if flow.protoinfo.is_handshake() {
        return Err(Undecided::NotRefreshed);
    }
    flow.timeout.ok_or(Undecided::NotSent)
}

fn hash_protocol_state(protocol: ProtoInfo, state: &mut impl Hasher) {
    match protocol {
        ProtoInfo::Tcp(tcp) => (tcp.state, tcp.flags_orig, tcp.flags_reply).hash(state),
        ProtoInfo::Sctp(sctp) => (sctp.state, sctp.vtag_orig, sctp.vtag_reply).hash(state),
        ProtoInfo::Dccp(dccp) => (dccp.state, dccp.role).hash(state),
        ProtoInfo::None | ProtoInfo::Unknown(_) => {}
    }
}

fn compare(first: &Sample, second: &Sample) -> Confirmed {
    if first.state != second.state || first.packets != second.packets {
        return Confirmed::Active;
    }
    let (old_low, old_high) = first.expiry();
    let (new_low, new_high) = second.expiry();
    if new_low > old_high || new_high < old_low {
        return Confirmed::Active;
    }
    let between = second.taken.earliest.0.saturating_sub(first.taken.latest.0);
    // Equal packet counters are proof on their own.
    let uncertainty = if first.packets.is_some() { 0 } else { new_high.saturating_sub(old_low) };
    let seconds = between.saturating_sub(uncertainty) / NANOSECONDS;
    Confirmed::Idle { at_least: u32::try_from(seconds).unwrap_or(u32::MAX) }
}

impl Sample {
    /// The earliest and the latest possible expiry. The remaining timeout is counted in jiffies and rounded
    /// down to seconds (`ctnetlink_dump_timeout` in
    /// net/netfilter/nf_conntrack_netlink.c).
    fn expiry(&self) -> (u64, u64) {
        let left = u64::from(self.left).saturating_mul(NANOSECONDS);
        let low = self.taken.earliest.0.saturating_add(left).saturating_sub(JIFFY);
        (low, self.taken.latest.0.saturating_add(left).saturating_add(NANOSECONDS + JIFFY))
    }
}
