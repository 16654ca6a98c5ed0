//! `nf_conntrack_events` of a namespace while its stream runs.
//!
//! With 0 an entry that is created gets no event extension and never sends an event
//! (`nf_ct_ecache_ext_add` in net/netfilter/nf_conntrack_ecache.c). Nothing shows that in the stream, so
//! the sysctl is read every two seconds.

use std::mem;

use ctnl::sysctl::Setting;

/// The value of `net.netfilter.nf_conntrack_events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventMode {
    /// 0: an entry that is created now sends no events.
    Off,
    /// 1: every entry sends events, unless it was created with another value.
    On,
    /// 2, or unknown: an entry sends events if anybody was subscribed when it was created.
    Auto,
}

impl EventMode {
    pub(super) fn of(value: Option<u64>) -> Self {
        match value {
            Some(0) => EventMode::Off,
            Some(1) => EventMode::On,
            _ => EventMode::Auto,
        }
    }
}

/// The sysctl. Its file stays open: without privileges no other namespace can be entered.
#[derive(Debug, Default)]
pub(super) struct EventSysctl {
    setting: Option<Setting>,
    value: Option<u64>,
    /// When the value was read last; while it is 0, when that was found. Ns of `CLOCK_REALTIME`.
    read_at: u64,
}

impl EventSysctl {
    pub(super) fn new(setting: Option<Setting>) -> Self {
        EventSysctl { setting, ..EventSysctl::default() }
    }

    /// The stream begins.
    pub(super) fn begin(&mut self, now: u64) {
        self.read_at = now;
    }

    /// What the value of the last read means.
    pub(super) fn mode(&self) -> EventMode {
        EventMode::of(self.value)
    }

    /// The value of the last read, where it could be read.
    pub(super) fn value(&self) -> Option<u64> {
        self.value
    }

    /// Reads the value. Where events have been switched off, or on again: since when entries may have
    /// been created that send none.
    pub(super) fn read(&mut self, now: u64) -> Option<u64> {
        let was_off = self.mode() == EventMode::Off;
        // An error means that the namespace has ended, or that it is unknown.
        self.value = self.setting.as_ref().and_then(|setting| setting.read().ok());
        let is_off = self.mode() == EventMode::Off;
        if was_off && is_off {
            return None;
        }
        let from = mem::replace(&mut self.read_at, now);
        (was_off != is_off).then_some(from)
    }
}

/// The sysctls of a namespace that decide what its events contain, beside `nf_conntrack_events`.
#[derive(Debug, Default)]
pub struct ReportedSysctls {
    /// `nf_conntrack_acct`.
    pub acct: Option<Setting>,
    /// `nf_conntrack_timestamp`.
    pub timestamp: Option<Setting>,
}
