//! Floor 4, the entries that the reader of an event stream knows: what it was told
//! of and not yet told the end of.
//!
//! [`Live`] follows the events, and is compared with a dump when events were lost
//! ([`Live::begin`] … [`Live::end`]). The dump takes its time, and events are read
//! between its datagrams; so an entry in a datagram may be older than an event that
//! was read already. The rules, each for one race:
//!
//! - Destroyed since the pass began, or marked as dying: the datagram is older, or the
//!   kernel has told of the end and not unlinked it yet. It is left out.
//! - In the set, and not in the dump, and no event since the pass began: it is gone.
//! - In the set, and made later than we know of: it was destroyed and made again.
//!   The kernel's id cannot tell (it often is the same), its timestamp can.
//! - A `new` event of what the dump has just added: the dump was faster. The
//!   reader knows it already.
//! - A `new` event of what is in the set otherwise: its end was missed.
//! - A `new` event of what is marked as dying: its `destroy` event may have come before it.
//!
//! Memory: 48 bytes an IPv4 entry and 72 an IPv6 entry, in tables that are between
//! 7/16 and 7/8 full: 56 to 112 and 83 to 167 bytes, and one allocation of 16 or 40
//! bytes more where NAT rewrote it. While a table grows, it is there twice.

mod entry;
#[cfg(test)]
mod simulation;
mod table;

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::{Flow, Status};
use table::Table;

pub use entry::Start;

/// For so long after a dump, a `new` event may be that of an entry which the dump has
/// shown: the kernel puts an entry into its table a moment before it tells of it.
const DUMP_IS_FASTER: u64 = 1_000_000_000;

/// An entry of the set, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Tuples, zone, id and status; nothing else was kept.
    pub flow: Flow,
    /// When it began.
    pub start: Start,
}

/// What a `new` event means for who knows the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewOutcome {
    /// It was not known.
    New,
    /// It is known already, by the dump or an earlier delivery: not to be told again.
    Known,
    /// One of the same tuple was known: its end was missed, and is to be told first.
    Again(Box<Known>),
    /// It is over already, and its `destroy` event may have been read before: one processor
    /// destroys it while another has not yet told of it. So it is not in the set. One of the
    /// same tuple may have been known, whose end was missed.
    Dying(Option<Box<Known>>),
}

/// What an entry of a dump means for who knows the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpOutcome {
    /// It is in the set.
    Known,
    /// It is gone by now: the dump is older than an event that was read.
    Stale,
    /// It is not in the set. [`Live::add`] takes it in.
    Unknown,
    /// It is not in the set any more: the one of the same tuple that was in it has
    /// ended, which is to be told first.
    Again(Box<Known>),
}

/// The set.
#[derive(Debug, Default)]
pub struct Live {
    v4: Table<Ipv4Addr>,
    v6: Table<Ipv6Addr>,
    /// The number of the pass that is under way, or was the last.
    pass: u8,
    is_in_pass: bool,
    /// When the last pass ended, ns.
    ended: u64,
    /// The kernel tells of an entry again where the first time found no room.
    redelivers: bool,
}

/// Does the same with the table of the flow's family.
macro_rules! by_family {
    ($live:expr, $flow:expr, $table:ident => $work:expr) => {
        if $flow.orig.src.is_ipv4() && $flow.orig.dst.is_ipv4() {
            let $table = &mut $live.v4;
            $work
        } else {
            let $table = &mut $live.v6;
            $work
        }
    };
}

impl Live {
    /// An empty set. With `redelivers` the subscription is reliable: a `new` event of
    /// a known entry is one that was delivered late, since no destroy is ever missed.
    #[must_use]
    pub fn new(redelivers: bool) -> Self {
        Live { redelivers, ..Live::default() }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the tables, without those that NAT takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes()
    }

    /// A `new` event that was read at `now` and began at `start`.
    pub fn came(&mut self, flow: &Flow, start: Start, now: u64) -> NewOutcome {
        let (pass, redelivers) = (self.pass, self.redelivers);
        let is_after_dump = self.is_in_pass || now < self.ended.saturating_add(DUMP_IS_FASTER);
        by_family!(self, flow, table => {
            let known = table.find(flow);
            if let Some(entry) = known
                && (redelivers || is_after_dump && entry.is_added_in(pass))
            {
                entry.see(pass);
                return NewOutcome::Known;
            }
            if flow.status.contains(Status::Dying) {
                return NewOutcome::Dying(table.remove(flow).map(|entry| Box::new(entry.known())));
            }
            table.revive(flow);
            let before = table.insert(flow, start, pass, false);
            before.map_or(NewOutcome::New, |known| NewOutcome::Again(Box::new(known)))
        })
    }

    /// A `new` event that is not told, read at `now`. What was known under its tuple
    /// has ended, which is to be told.
    pub fn replaced(&mut self, flow: &Flow, now: u64) -> Option<Known> {
        let pass = self.pass;
        let is_after_dump = self.is_in_pass || now < self.ended.saturating_add(DUMP_IS_FASTER);
        by_family!(self, flow, table => {
            // It may match by the time that the dump shows it.
            table.revive(flow);
            let entry = table.find(flow)?;
            if self.redelivers || is_after_dump && entry.is_added_in(pass) {
                entry.see(pass);
                return None;
            }
            table.remove(flow).map(|entry| entry.known())
        })
    }

    /// An `update` event that is told: what was not known is from now on. False where it is
    /// over already, and not in the set: see [`NewOutcome::Dying`].
    pub fn changed(&mut self, flow: &Flow, now: u64) -> bool {
        let pass = self.pass;
        by_family!(self, flow, table => match table.find(flow) {
            Some(entry) => entry.update(flow, pass),
            None if flow.status.contains(Status::Dying) => return false,
            None => drop(table.insert(flow, Start::of(flow, Start::Before(now)), pass, false)),
        });
        true
    }

    /// An `update` event that is not told. Whether the entry is known.
    pub fn touched(&mut self, flow: &Flow) -> bool {
        let pass = self.pass;
        by_family!(self, flow, table => table.find(flow).map(|entry| entry.update(flow, pass)).is_some())
    }

    /// A `destroy` event. When the entry began, if it was known.
    pub fn left(&mut self, flow: &Flow) -> Option<Start> {
        let is_in_pass = self.is_in_pass;
        by_family!(self, flow, table => {
            if is_in_pass {
                table.bury(flow);
            }
            table.remove(flow).map(|entry| entry.start())
        })
    }

    /// A dump begins. Until [`Live::end`], what is destroyed is remembered.
    pub fn begin(&mut self) {
        // Passes that were abandoned sweep nothing: an entry that none of 256 has seen must
        // not seem to be seen by this one.
        if self.pass == u8::MAX {
            self.v4.unsee();
            self.v6.unsee();
            self.pass = 0;
        }
        self.pass += 1;
        self.is_in_pass = true;
        self.v4.exhume();
        self.v6.exhume();
    }

    /// An entry of the dump.
    pub fn in_dump(&mut self, flow: &Flow) -> DumpOutcome {
        let pass = self.pass;
        by_family!(self, flow, table => {
            let Some(entry) = table.find(flow) else {
                let is_over = flow.status.contains(Status::Dying) || table.is_buried(flow);
                return if is_over { DumpOutcome::Stale } else { DumpOutcome::Unknown };
            };
            if !entry.is_older_than(flow) {
                entry.see(pass);
                return DumpOutcome::Known;
            }
            table.remove(flow).map_or(DumpOutcome::Unknown, |entry| DumpOutcome::Again(Box::new(entry.known())))
        })
    }

    /// Takes in an entry of the dump, which was read at `now`.
    pub fn add(&mut self, flow: &Flow, now: u64) {
        let pass = self.pass;
        by_family!(self, flow, table => drop(table.insert(flow, Start::of(flow, Start::Before(now)), pass, true)));
    }

    /// The dump is at its end, and all events that were queued until then are read:
    /// hands out what is gone.
    pub fn end(&mut self, now: u64, mut gone: impl FnMut(Known)) {
        self.v4.sweep(self.pass, &mut gone);
        self.v6.sweep(self.pass, &mut gone);
        self.abandon(now);
    }

    /// The dump was left before its end. What it has shown so far stays.
    pub fn abandon(&mut self, now: u64) {
        self.is_in_pass = false;
        self.ended = now;
        self.v4.exhume();
        self.v6.exhume();
    }

    /// Shows everything.
    pub fn each(&self, mut each: impl FnMut(Known)) {
        self.v4.each(&mut each);
        self.v6.each(&mut each);
    }

    /// Hands out everything: the table itself is gone.
    pub fn clear(&mut self, mut each: impl FnMut(Known)) {
        self.v4.drain(&mut each);
        self.v6.drain(&mut each);
        self.is_in_pass = false;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{L4, Protocol, Tuple};

    fn flow(port: u16) -> Flow {
        let [src, dst] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(Into::into);
        let l4 = L4::Ports { src: port, dst: 53 };
        let orig = Tuple { src, dst, protocol: Protocol::Udp, l4, ..Tuple::UNSPECIFIED };
        Flow::new(orig, orig.inverse())
    }

    #[test]
    fn what_no_pass_of_256_has_seen_is_gone_in_the_first_whole_one() {
        for passes in 250..260 {
            let mut live = Live::new(false);
            live.came(&flow(1), Start::Event(1), 1);
            live.begin();
            live.add(&flow(2), 1);
            live.end(1, |_| ());
            live.add(&flow(3), 1);
            (0..passes).for_each(|_| {
                live.begin();
                live.abandon(1);
            });
            live.begin();
            let mut gone = 0;
            live.end(1, |_| gone += 1);
            assert_eq!((gone, live.len()), (2, 0), "{passes}");
        }
    }

    #[test]
    fn what_dies_as_it_comes_is_not_in_the_set_nor_taken_from_a_stale_dump() {
        let mut live = Live::new(false);
        live.begin();
        let mut dying = flow(1);
        dying.status |= Status::Dying;
        live.left(&flow(1));
        assert_eq!(live.came(&dying, Start::Event(1), 1), NewOutcome::Dying(None));
        assert!(!live.changed(&dying, 1));
        assert_eq!(live.in_dump(&flow(1)), DumpOutcome::Stale);
        assert!(live.is_empty());
    }

    #[test]
    fn what_is_made_again_during_a_pass_may_match_later() {
        let mut live = Live::new(false);
        live.begin();
        live.left(&flow(1));
        assert_eq!(live.replaced(&flow(1), 1), None);
        assert_eq!(live.in_dump(&flow(1)), DumpOutcome::Unknown);
    }
}
