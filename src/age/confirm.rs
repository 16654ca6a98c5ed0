//! Look twice: a flow whose expiry did not move had no packet in between.
//!
//! This needs no timeout to be known. Each accepted packet sets expiry = now + C.
//! Let the last packet before the first look come at p, and one at q between the
//! looks. With the same C, the expiry moved by q - p; so q lies at most as far
//! behind the first look as the expiry has moved. How far that may be is known to
//! a second or two, since the kernel rounds the time left to seconds. With
//! another C the expiry would jump, and what C depends on is compared as well.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::model::{Flow, ProtoInfo, Status, Undecided};
use crate::table::SampledAt;

const NANOSECONDS: u64 = 1_000_000_000;
/// The longest jiffy of any kernel (HZ=100).
const JIFFY: u64 = 10_000_000;

/// What two looks at a flow say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// No packet was accepted in the last so many seconds before the second look.
    Quiet {
        /// Seconds, rounded down: up to [`Confirm::UNCERTAINTY`] less than the distance of the looks.
        at_least: u32,
    },
    /// A packet came, or the entry is another one, or someone wrote its timeout.
    Moved,
    /// The two looks say nothing.
    Unknown(Undecided),
}

/// The first look at many flows, some 64 bytes for each.
#[derive(Debug, Default)]
pub struct Confirm {
    samples: HashMap<u64, Sample, RandomState>,
}

/// What is kept of a flow.
#[derive(Debug, Clone, Copy)]
struct Sample {
    taken: SampledAt,
    left: u32,
    /// What C depends on, and what tells an entry from its successor.
    state: u64,
    packets: Option<u64>,
}

impl Confirm {
    /// How many seconds less than the distance of the looks may be confirmed.
    pub const UNCERTAINTY: u32 = 3;

    /// Nothing looked at yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers the first look at `flow`.
    ///
    /// # Errors
    /// A flow of which two looks can say nothing, and why.
    pub fn first(&mut self, flow: &Flow, taken: SampledAt) -> Result<(), Undecided> {
        let sample = self.sample(flow, taken)?;
        self.samples.insert(self.key(flow), sample);
        Ok(())
    }

    /// Compares a second look at `flow` with the first one.
    #[must_use]
    pub fn second(&self, flow: &Flow, taken: SampledAt) -> Confirmed {
        let second = match self.sample(flow, taken) {
            Ok(sample) => sample,
            Err(reason) => return Confirmed::Unknown(reason),
        };
        self.samples.get(&self.key(flow)).map_or(Confirmed::Moved, |first| compare(first, &second))
    }

    /// Number of flows remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether no flow is remembered.
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

/// Seconds left, if every accepted packet moves the expiry.
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
        return Confirmed::Moved;
    }
    let (old_low, old_high) = first.expiry();
    let (new_low, new_high) = second.expiry();
    if new_low > old_high || new_high < old_low {
        return Confirmed::Moved;
    }
    let distance = second.taken.earliest.0.saturating_sub(first.taken.latest.0);
    // Counters that stand still are proof by themselves.
    let doubt = if first.packets.is_some() { 0 } else { new_high.saturating_sub(old_low) };
    let seconds = distance.saturating_sub(doubt) / NANOSECONDS;
    Confirmed::Quiet { at_least: u32::try_from(seconds).unwrap_or(u32::MAX) }
}

impl Sample {
    /// The expiry lies between both. The time left is rounded down, and counted
    /// in jiffies.
    fn expiry(&self) -> (u64, u64) {
        let left = u64::from(self.left).saturating_mul(NANOSECONDS);
        let low = self.taken.earliest.0.saturating_add(left).saturating_sub(JIFFY);
        (low, self.taken.latest.0.saturating_add(left).saturating_add(NANOSECONDS + JIFFY))
    }
}
