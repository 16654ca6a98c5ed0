//! The set of entries that the reader of an event stream holds: those of which it got a
//! `new` record and no `destroy` record yet.
//!
//! [`Live`] applies events to the set, and compares it with a dump after events were lost
//! ([`Live::begin_pass`] … [`Live::end_pass`]). Events are read between the datagrams of
//! the dump, so an entry in a datagram may be older than an event that was read before it.
//! One rule for each race:
//!
//! - An entry of the dump that was destroyed since the pass began, or that has
//!   `IPS_DYING`, is ignored. `nf_ct_delete` (net/netfilter/nf_conntrack_core.c) sets that
//!   bit, sends the `destroy` event and then removes the entry from the hash table; so a
//!   dump can contain an entry after its `destroy` event.
//! - An entry of the set that is not in the dump, and had no event since the pass began,
//!   has ended. (With a reliable subscription its `destroy` event may be still to come.)
//! - An entry of the set whose start time in the dump is later than the recorded one was
//!   destroyed and created again. The id does not show that: `nf_ct_get_id`
//!   (nf_conntrack_core.c) hashes the address, the master, the namespace and the original
//!   tuple of the entry, and the slab allocator reuses addresses.
//! - A `new` event of an entry that this pass inserted is a duplicate:
//!   `__nf_conntrack_confirm` (nf_conntrack_core.c) inserts the entry into the hash table
//!   before `nf_ct_deliver_cached_events` (nf_conntrack_ecache.c) sends the event.
//! - Any other `new` event of an entry in the set means that its `destroy` event was lost.
//! - A `new` event of an entry with `IPS_DYING` may follow its `destroy` event: two
//!   processors send them.
//!
//! Memory: 48 bytes for an IPv4 entry and 72 for an IPv6 entry, in hash tables with a load
//! between 7/16 and 7/8: 56 to 112 and 83 to 167 bytes, and one allocation of 16 or 40
//! bytes more for an entry with NAT. While a table grows, the old and the new one exist.
//!
//! ```
//! use ctnl::live::{Live, NewOutcome, Start};
//! use ctnl::model::{Flow, L4, Protocol, Tuple};
//!
//! let [src, dst] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(Into::into);
//! let l4 = L4::Ports { src: 1024, dst: 53 };
//! let tuple = Tuple { src, dst, protocol: Protocol::Udp, l4, ..Tuple::UNSPECIFIED };
//! let flow = Flow::new(tuple, tuple.inverse());
//!
//! let mut live = Live::new(false);
//! assert_eq!(live.on_new(&flow, Start::Event(1), 1), NewOutcome::New);
//! // Events were lost. A dump does not contain the entry, so it has ended.
//! live.begin_pass();
//! let mut ended = 0;
//! live.end_pass(2, |_| ended += 1);
//! assert_eq!((ended, live.len()), (1, 0));
//! ```

mod entry;
mod outcome;
#[cfg(test)]
mod simulation;
mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::{Flow, Status};
use crate::units::Nanos;
use table::Table;

pub use outcome::{DumpOutcome, LiveEntry, NewOutcome, Silent, Start};

/// For this time after a pass, a `new` event may belong to an entry that the pass inserted.
/// The kernel takes microseconds between the two; the event may wait in the queue.
const NEW_AFTER_DUMP: u64 = Nanos::PER_SECOND;

/// The set.
#[derive(Debug, Default)]
pub struct Live {
    v4: Table<Ipv4Addr>,
    v6: Table<Ipv6Addr>,
    /// The number of the current pass, or of the last one.
    pass: u8,
    is_in_pass: bool,
    /// When the last pass ended, ns.
    pass_ended: u64,
    /// The kernel repeats the delivery of an event that did not fit into the queue.
    is_reliable: bool,
    /// The longest timeout of a silent entry in the current pass, s.
    longest_timeout: u32,
    /// The result of the last complete pass.
    silent: Option<Silent>,
}

/// Evaluates the expression with the table of the flow's address family.
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
    /// An empty set. `is_reliable`: the subscription has `NETLINK_BROADCAST_ERROR`, so no
    /// `destroy` event is lost, and a `new` event of an entry in the set is a late delivery
    /// (`nf_conntrack_eventmask_report` in net/netfilter/nf_conntrack_ecache.c). A late `destroy`
    /// event follows the removal of its entry from the table.
    #[must_use]
    pub fn new(is_reliable: bool) -> Self {
        Live { is_reliable, ..Live::default() }
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the hash tables, without the separate allocations of entries with NAT.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes()
    }

    /// Applies a `new` event that matches the filter, was read at `now` (ns) and reports an
    /// entry created at `start`.
    pub fn on_new(&mut self, flow: &Flow, start: Start, now: u64) -> NewOutcome {
        let (pass, is_reliable) = (self.pass, self.is_reliable);
        let is_after_dump = self.is_after_dump(now);
        by_family!(self, flow, table => {
            let found = table.find(flow);
            if let Some(entry) = found
                && (is_reliable || is_after_dump && entry.is_inserted_in(pass))
            {
                entry.mark_by_event(pass);
                return NewOutcome::Known;
            }
            if flow.status.contains(Status::Dying) {
                return NewOutcome::Dying(table.remove(flow).map(|entry| Box::new(entry.restore())));
            }
            table.remove_tombstone(flow);
            let earlier = table.insert(flow, start, pass, false);
            earlier.map_or(NewOutcome::New, |earlier| NewOutcome::Recreated(Box::new(earlier)))
        })
    }

    /// Applies a `new` event, read at `now` (ns), that does not match the filter. Returns the
    /// earlier entry of the same tuple, whose end is to be reported.
    pub fn on_unmatched_new(&mut self, flow: &Flow, now: u64) -> Option<LiveEntry> {
        let (pass, is_reliable) = (self.pass, self.is_reliable);
        let is_after_dump = self.is_after_dump(now);
        by_family!(self, flow, table => {
            // It may match by the time that the dump contains it.
            table.remove_tombstone(flow);
            let entry = table.find(flow)?;
            if is_reliable || is_after_dump && entry.is_inserted_in(pass) {
                entry.mark_by_event(pass);
                return None;
            }
            table.remove(flow).map(|entry| entry.restore())
        })
    }

    /// Applies an `update` event that matches the filter; inserts an entry that was not in the
    /// set. False where the entry is dying and not in the set: see [`NewOutcome::Dying`].
    pub fn on_update(&mut self, flow: &Flow, now: u64) -> bool {
        let pass = self.pass;
        by_family!(self, flow, table => match table.find(flow) {
            Some(entry) => entry.update(flow, pass),
            None if flow.status.contains(Status::Dying) => return false,
            None => drop(table.insert(flow, Start::of(flow, Start::Before(now)), pass, false)),
        });
        true
    }

    /// Applies an `update` event that does not match the filter. Whether the entry is in the set.
    pub fn on_unmatched_update(&mut self, flow: &Flow) -> bool {
        let pass = self.pass;
        by_family!(self, flow, table => table.find(flow).map(|entry| entry.update(flow, pass)).is_some())
    }

    /// Applies a `destroy` event. Returns when the entry was created, if it was in the set.
    pub fn on_destroy(&mut self, flow: &Flow) -> Option<Start> {
        let is_in_pass = self.is_in_pass;
        by_family!(self, flow, table => {
            if is_in_pass {
                table.add_tombstone(flow);
            }
            table.remove(flow).map(|entry| entry.start())
        })
    }

    /// Begins a pass, before the dump is requested. Until [`Live::end_pass`], the tuples of
    /// destroyed entries are stored as tombstones.
    pub fn begin_pass(&mut self) {
        // Abandoned passes remove nothing, so an entry that none of 255 passes has marked
        // would look as if marked by the next one when the number wraps.
        if self.pass == u8::MAX {
            self.v4.unmark();
            self.v6.unmark();
            self.pass = 0;
        }
        self.pass += 1;
        self.is_in_pass = true;
        self.longest_timeout = 0;
        self.clear_tombstones();
    }

    /// Compares an entry of the dump with the set.
    pub fn on_dumped(&mut self, flow: &Flow) -> DumpOutcome {
        let pass = self.pass;
        by_family!(self, flow, table => {
            let Some(entry) = table.find(flow) else {
                let has_ended = flow.status.contains(Status::Dying) || table.has_tombstone(flow);
                return if has_ended { DumpOutcome::Stale } else { DumpOutcome::Unknown };
            };
            // With a reliable subscription the `destroy` event of the earlier entry is still to come.
            if self.is_reliable || !entry.is_older_than(flow) {
                entry.mark(pass);
                if entry.is_silent() {
                    self.longest_timeout = self.longest_timeout.max(flow.timeout.unwrap_or(0));
                }
                return DumpOutcome::Known;
            }
            let earlier = table.remove(flow);
            earlier.map_or(DumpOutcome::Unknown, |entry| DumpOutcome::Recreated(Box::new(entry.restore())))
        })
    }

    /// Inserts an entry of the dump, read at `now` (ns).
    pub fn insert_dumped(&mut self, flow: &Flow, now: u64) {
        let pass = self.pass;
        self.longest_timeout = self.longest_timeout.max(flow.timeout.unwrap_or(0));
        by_family!(self, flow, table => drop(table.insert(flow, Start::of(flow, Start::Before(now)), pass, true)));
    }

    /// Ends a pass whose dump is complete, after the events that were queued until then were
    /// applied. Removes the entries that have ended and calls `removed` with each: with a reliable
    /// subscription only silent ones, since the `destroy` event of the others is never lost.
    pub fn end_pass(&mut self, now: u64, mut removed: impl FnMut(LiveEntry)) {
        let (pass, only_silent) = (self.pass, self.is_reliable);
        let entries = self.v4.remove_unmarked(pass, only_silent, &mut removed)
            + self.v6.remove_unmarked(pass, only_silent, &mut removed);
        let longest_timeout = self.longest_timeout;
        self.silent = (entries > 0).then_some(Silent { entries, longest_timeout });
        self.abandon_pass(now);
    }

    /// The silent entries at the end of the last complete pass; `None` where there were none.
    #[must_use]
    pub fn silent(&self) -> Option<Silent> {
        self.silent
    }

    /// Ends a pass whose dump is incomplete. Entries that it inserted stay; none is removed.
    pub fn abandon_pass(&mut self, now: u64) {
        self.is_in_pass = false;
        self.pass_ended = now;
        self.clear_tombstones();
    }

    /// Calls `each` with every entry.
    pub fn for_each(&self, mut each: impl FnMut(LiveEntry)) {
        self.v4.for_each(&mut each);
        self.v6.for_each(&mut each);
    }

    /// Removes every entry and calls `each` with it.
    pub fn drain(&mut self, mut each: impl FnMut(LiveEntry)) {
        self.v4.drain(&mut each);
        self.v6.drain(&mut each);
        self.is_in_pass = false;
    }

    fn is_after_dump(&self, now: u64) -> bool {
        self.is_in_pass || now < self.pass_ended.saturating_add(NEW_AFTER_DUMP)
    }

    fn clear_tombstones(&mut self) {
        self.v4.clear_tombstones();
        self.v6.clear_tombstones();
    }
}
