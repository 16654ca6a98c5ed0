//! One entry of the set, in as few bytes as tell it apart and name its end.

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Known;
use crate::model::{Flow, L4, Protocol, Status, Tuple, Zone};

/// The time of an event is read once for many, and so may be earlier than the event.
const SLACK: u64 = 1_000_000_000;

/// When an entry began, ns of `CLOCK_REALTIME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// By the kernel (`nf_conntrack_timestamp=1` when it was made).
    Kernel(u64),
    /// The time of the event that told of its beginning.
    Event(u64),
    /// It was there already at this time.
    Before(u64),
}

impl Start {
    /// The kernel's time, or `otherwise` where it has none.
    #[must_use]
    pub fn of(flow: &Flow, otherwise: Start) -> Self {
        flow.start.map_or(otherwise, Start::Kernel)
    }
}

/// An address of one family.
pub(super) trait Address: Copy + Eq + Hash {
    fn of(address: IpAddr) -> Self;
    fn ip(self) -> IpAddr;
}

impl Address for Ipv4Addr {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address,
            // No tuple has two families.
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

/// What tells entries apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key<A> {
    side: Side<A>,
    zone: Zone,
    protocol: u8,
}

const HAS_ID: u8 = 1;
const HAS_UNKNOWN_PART: u8 = 2;
/// A dump has shown it, and no event since.
const ADDED: u8 = 4;
const KERNEL: u8 = 8;
const BEFORE: u8 = 16;

#[derive(Debug)]
pub(super) struct Entry<A> {
    start: u64,
    /// Where it is not the mirror of the original direction.
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
    pub(super) fn new(flow: &Flow, start: Start, pass: u8, is_added: bool) -> Self {
        let (start, kind) = match start {
            Start::Kernel(ns) => (ns, KERNEL),
            Start::Event(ns) => (ns, 0),
            Start::Before(ns) => (ns, BEFORE),
        };
        let id = if flow.id.is_some() { HAS_ID } else { 0 };
        let unknown = if flow.orig.has_unknown_part { HAS_UNKNOWN_PART } else { 0 };
        let added = if is_added { ADDED } else { 0 };
        let reply = Side::of(&flow.reply);
        let is_mirror = reply == Side::of(&flow.orig.inverse());
        Entry {
            start,
            reply: (!is_mirror).then(|| Box::new(reply)),
            status: flow.status.bits(),
            id: flow.id.unwrap_or(0),
            key: Key::of(flow),
            flags: kind | id | unknown | added,
            pass,
        }
    }

    pub(super) fn key(&self) -> &Key<A> {
        &self.key
    }

    pub(super) fn start(&self) -> Start {
        match self.flags & (KERNEL | BEFORE) {
            KERNEL => Start::Kernel(self.start),
            BEFORE => Start::Before(self.start),
            _ => Start::Event(self.start),
        }
    }

    /// It was there since the pass began.
    pub(super) fn see(&mut self, pass: u8) {
        // What an earlier dump has added is not news any more.
        if self.pass != pass {
            self.flags &= !ADDED;
        }
        self.pass = pass;
    }

    pub(super) fn update(&mut self, flow: &Flow, pass: u8) {
        self.see(pass);
        self.status = flow.status.bits();
    }

    pub(super) fn is_seen_in(&self, pass: u8) -> bool {
        self.pass == pass
    }

    pub(super) fn is_added_in(&self, pass: u8) -> bool {
        self.flags & ADDED != 0 && self.pass == pass
    }

    /// Whether `flow`, of a dump, was made after this one.
    pub(super) fn is_older_than(&self, flow: &Flow) -> bool {
        flow.start.is_some_and(|start| match self.start() {
            Start::Kernel(own) => start > own,
            Start::Event(seen) | Start::Before(seen) => start > seen.saturating_add(SLACK),
        })
    }

    /// The entry with all that was kept of it.
    pub(super) fn known(&self) -> Known {
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
        Known { flow, start }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_the_bytes_that_the_documentation_says() {
        assert_eq!((size_of::<Entry<Ipv4Addr>>(), size_of::<Side<Ipv4Addr>>()), (48, 14));
        assert_eq!((size_of::<Entry<Ipv6Addr>>(), size_of::<Side<Ipv6Addr>>()), (72, 38));
    }
}
