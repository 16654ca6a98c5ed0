//! The compact form of one entry of the set: its key, and what a synthetic `destroy` record
//! needs.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::outcome::{LiveEntry, Start};
use crate::model::{Flow, L4, Protocol, Status, Tuple, Zone};
use crate::units::Nanos;

/// The clock is read once for many events, so the time of an event may be too early by this.
const EVENT_TIME_ERROR: u64 = Nanos::PER_SECOND;

/// An address of one family.
pub(super) trait Address: Copy + Eq + Hash {
    fn of(address: IpAddr) -> Self;
    fn ip(self) -> IpAddr;
}

impl Address for Ipv4Addr {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address,
            // Both addresses of a tuple are of one family: `nf_conntrack_tuple` has one `l3num`.
            IpAddr::V6(address) => address.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
        }
    }

    fn ip(self) -> IpAddr {
        self.into()
    }
}

impl Address for Ipv6Addr {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        }
    }

    fn ip(self) -> IpAddr {
        self.into()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Side<A> {
    src: A,
    dst: A,
    l4: L4,
}

/// The key of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key<A> {
    side: Side<A>,
    zone: Zone,
    protocol: u8,
}

const HAS_ID: u8 = 1;
const HAS_UNKNOWN_PART: u8 = 2;
/// Inserted by a dump, and no event since.
const INSERTED: u8 = 4;
const KERNEL: u8 = 8;
const BEFORE: u8 = 16;
const BETWEEN: u8 = KERNEL | BEFORE;
/// Inserted by a dump, and no event was received of it: it may be one that sends none.
const SILENT: u8 = 32;

#[derive(Debug)]
pub(super) struct Entry<A> {
    start: u64,
    /// `None` where it is the inverse of the original direction: no NAT.
    reply: Option<Box<Side<A>>>,
    status: u32,
    id: u32,
    key: Key<A>,
    flags: u8,
    pass: u8,
}

impl<A: Address> Side<A> {
    fn of(tuple: &Tuple) -> Self {
        Side { src: A::of(tuple.src), dst: A::of(tuple.dst), l4: tuple.l4 }
    }

    fn tuple(self, protocol: u8) -> Tuple {
        let (src, dst) = (self.src.ip(), self.dst.ip());
        Tuple { src, dst, protocol: Protocol::from(protocol), l4: self.l4, ..Tuple::UNSPECIFIED }
    }
}

impl<A: Address> Key<A> {
    #[inline]
    pub(super) fn of(flow: &Flow) -> Self {
        Key { side: Side::of(&flow.orig), zone: flow.zone(), protocol: flow.orig.protocol.into() }
    }

    #[inline]
    pub(super) fn hash(&self, hasher: &impl BuildHasher) -> u64 {
        hasher.hash_one(self)
    }
}

impl<A: Address> Entry<A> {
    pub(super) fn new(flow: &Flow, start: Start, pass: u8, is_inserted: bool) -> Self {
        let (start, kind) = pack(start);
        let id = if flow.id.is_some() { HAS_ID } else { 0 };
        let unknown = if flow.orig.has_unknown_part { HAS_UNKNOWN_PART } else { 0 };
        let inserted = if is_inserted { INSERTED | SILENT } else { 0 };
        let reply = Side::of(&flow.reply);
        let is_inverse = reply == Side::of(&flow.orig.inverse());
        Entry {
            start,
            reply: (!is_inverse).then(|| Box::new(reply)),
            status: flow.status.bits(),
            id: flow.id.unwrap_or(0),
            key: Key::of(flow),
            flags: kind | id | unknown | inserted,
            pass,
        }
    }

    pub(super) fn key(&self) -> &Key<A> {
        &self.key
    }

    pub(super) fn start(&self) -> Start {
        match self.flags & BETWEEN {
            BETWEEN => unpack_between(self.start),
            KERNEL => Start::Kernel(self.start),
            BEFORE => Start::Before(self.start),
            _ => Start::Event(self.start),
        }
    }

    /// Marks the entry as existing since this pass began.
    pub(super) fn mark(&mut self, pass: u8) {
        if self.pass != pass {
            self.flags &= !INSERTED;
        }
        self.pass = pass;
    }

    /// An event of the entry was received: it exists since this pass began, and sends events.
    pub(super) fn mark_by_event(&mut self, pass: u8) {
        self.mark(pass);
        self.flags &= !SILENT;
    }

    pub(super) fn update(&mut self, flow: &Flow, pass: u8) {
        self.mark_by_event(pass);
        self.status = flow.status.bits();
    }

    pub(super) fn is_silent(&self) -> bool {
        self.flags & SILENT != 0
    }

    pub(super) fn is_marked_by(&self, pass: u8) -> bool {
        self.pass == pass
    }

    pub(super) fn is_inserted_in(&self, pass: u8) -> bool {
        self.flags & INSERTED != 0 && self.pass == pass
    }

    /// Whether `flow`, of a dump, was created after this entry.
    pub(super) fn is_older_than(&self, flow: &Flow) -> bool {
        flow.start.is_some_and(|start| match self.start() {
            Start::Kernel(own) => start > own,
            Start::Event(time) | Start::Before(time) | Start::Between { before: time, .. } => {
                start > time.saturating_add(EVENT_TIME_ERROR)
            }
        })
    }

    /// The entry with all that is stored of it.
    pub(super) fn restore(&self) -> LiveEntry {
        let Key { side, zone, protocol } = self.key;
        let mut orig = side.tuple(protocol);
        orig.has_unknown_part = self.flags & HAS_UNKNOWN_PART != 0;
        let reply = self.reply.as_ref().map_or_else(|| orig.inverse(), |side| side.tuple(protocol));
        let mut flow = Flow::new(orig, reply);
        match zone {
            Zone::Default => {}
            Zone::Both(zone) => flow.zone_both = Some(zone),
            Zone::Orig(zone) => flow.orig.zone = Some(zone),
            Zone::Reply(zone) => flow.reply.zone = Some(zone),
            Zone::Each(orig, reply) => (flow.orig.zone, flow.reply.zone) = (Some(orig), Some(reply)),
        }
        flow.status = Status::from_bits_retain(self.status);
        flow.id = (self.flags & HAS_ID != 0).then_some(self.id);
        let start = self.start();
        if let Start::Kernel(ns) = start {
            flow.start = Some(ns);
        }
        LiveEntry { flow, start }
    }
}

/// Nanoseconds in the unit of [`Start::Between`].
const UNIT: u64 = 1_000_000;
/// Bits for the length of the interval: 70 minutes.
const LENGTH_BITS: u32 = 22;

/// A start in 64 bits, and its kind. An interval that is longer than its bits has no lower bound.
fn pack(start: Start) -> (u64, u8) {
    match start {
        Start::Kernel(ns) => (ns, KERNEL),
        Start::Event(ns) => (ns, 0),
        Start::Before(ns) => (ns, BEFORE),
        Start::Between { after, before } => {
            let end = before.div_ceil(UNIT);
            let length = end.saturating_sub(after / UNIT);
            let fits = length >> LENGTH_BITS == 0 && end << LENGTH_BITS >> LENGTH_BITS == end;
            if fits { (end << LENGTH_BITS | length, BETWEEN) } else { (before, BEFORE) }
        }
    }
}

fn unpack_between(packed: u64) -> Start {
    let (end, length) = (packed >> LENGTH_BITS, packed & ((1 << LENGTH_BITS) - 1));
    Start::Between { after: end.saturating_sub(length) * UNIT, before: end * UNIT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_start_is_kept_and_never_becomes_shorter() {
        let at = 1_795_325_357_312_000_123;
        for length in [0, 1, 999_999, 5_000_000, 200_000_000, 3_600_000_000_000] {
            let (packed, kind) = pack(Start::Between { after: at - length, before: at });
            assert_eq!(kind, BETWEEN);
            let Start::Between { after, before } = unpack_between(packed) else { unreachable!() };
            assert!(after <= at - length && before >= at, "{length}: {after} {before}");
            assert!(before - after <= length + 2 * UNIT, "{length}: {after} {before}");
        }
        // A clock that was set back.
        let (packed, _) = pack(Start::Between { after: at + 9 * UNIT, before: at });
        assert!(matches!(unpack_between(packed), Start::Between { after, before } if after == before));
        let hours = Start::Between { after: at - 2 * 3_600_000_000_000, before: at };
        assert_eq!(pack(hours), (at, BEFORE));
    }

    #[test]
    fn an_entry_has_the_size_that_the_documentation_states() {
        assert_eq!((size_of::<Entry<Ipv4Addr>>(), size_of::<Side<Ipv4Addr>>()), (48, 14));
        assert_eq!((size_of::<Entry<Ipv6Addr>>(), size_of::<Side<Ipv6Addr>>()), (72, 38));
    }
}
