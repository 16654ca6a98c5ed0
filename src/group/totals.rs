//! What is counted of a group, or of all flows.

use crate::model::{Flow, Status};

/// The counters of a group, or of all flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Flows.
    pub entries: u64,
    /// Flows that are not ASSURED. For a new flow in a full table, the kernel looks at eight hash buckets at most
    /// and evicts such flows from the first one that has any; if none has, it drops the packet (`early_drop` in
    /// net/netfilter/nf_conntrack_core.c).
    pub evictable: u64,
    /// Flows whose packets and bytes are known (`nf_conntrack_acct` was 1 when they were created).
    pub counted: u64,
    /// Packets of the flows that are [`counted`](Self::counted), both directions: a lower bound where others
    /// are not, and `None` where none is.
    pub packets: Option<u64>,
    /// Bytes of the same flows, both directions.
    pub bytes: Option<u64>,
}

impl Totals {
    /// Whether packets and bytes are those of all flows.
    #[must_use]
    pub fn is_all_counted(&self) -> bool {
        self.counted == self.entries
    }

    #[inline]
    pub(super) fn add(&mut self, flow: &Flow) {
        self.entries += 1;
        self.evictable += u64::from(is_evictable(flow));
        if let (Some(packets), Some(bytes)) = (flow.packets(), flow.bytes()) {
            self.counted += 1;
            self.packets = Some(self.packets.unwrap_or(0).saturating_add(packets));
            self.bytes = Some(self.bytes.unwrap_or(0).saturating_add(bytes));
        }
    }
}

/// [`Totals`] in less memory, with the offset of the key. A table never has more than 2³² entries.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counter {
    /// Offset of the key, which ends at the offset of the next one.
    pub(super) key: u64,
    packets: u64,
    bytes: u64,
    entries: u32,
    evictable: u32,
    counted: u32,
}

impl Counter {
    pub(super) fn of_key_at(key: u64) -> Self {
        Counter { key, ..Counter::default() }
    }

    #[inline]
    pub(super) fn add(&mut self, flow: &Flow) {
        self.entries = self.entries.saturating_add(1);
        self.evictable = self.evictable.saturating_add(u32::from(is_evictable(flow)));
        if let (Some(packets), Some(bytes)) = (flow.packets(), flow.bytes()) {
            self.counted = self.counted.saturating_add(1);
            self.packets = self.packets.saturating_add(packets);
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }

    pub(super) fn totals(&self) -> Totals {
        let of_counted = |sum| (self.counted > 0).then_some(sum);
        Totals {
            entries: self.entries.into(),
            evictable: self.evictable.into(),
            counted: self.counted.into(),
            packets: of_counted(self.packets),
            bytes: of_counted(self.bytes),
        }
    }
}

#[inline]
fn is_evictable(flow: &Flow) -> bool {
    !flow.status.contains(Status::Assured)
}
