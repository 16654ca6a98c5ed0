//! The counters over a time: what the kernel counted since boot says nothing about now.

use ctnl::table::{Counters, CpuStats};
use ctnl::units::Nanos;

/// The counters of two samples.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    /// The time between the samples.
    pub span: Nanos,
    /// Each counter that the kernel reports.
    pub counters: Vec<CounterChange>,
}

/// One counter, summed over the processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterChange {
    /// Its name, as `conntrack -S` has it.
    pub name: String,
    /// What was counted between the samples.
    pub change: u64,
    /// What was counted since the namespace was made. Each processor's counter begins again after 2³².
    pub total: u64,
}

impl Window {
    /// What was counted from the sample `before` to the sample `after`, `span` later.
    pub fn between(before: &[CpuStats], after: &[CpuStats], span: Nanos) -> Self {
        let since = |cpu: &CpuStats| before.iter().find(|before| before.cpu == cpu.cpu).map(|before| cpu.since(before));
        let changes: Vec<_> = after.iter().filter_map(since).collect();
        let totals: Vec<_> = Counters::total(after).named().collect();
        let change = |(name, change): (String, u64)| {
            let total = totals.iter().find(|(known, _)| *known == name).map_or(0, |(_, total)| *total);
            CounterChange { name, change, total }
        };
        Window { span, counters: Counters::total(&changes).named().map(change).collect() }
    }

    /// The counter of this name; `None` where this kernel does not report it.
    pub fn counter(&self, name: &str) -> Option<&CounterChange> {
        self.counters.iter().find(|counter| counter.name == name)
    }

    /// What was counted of `name`; 0 where this kernel does not report it.
    pub fn change(&self, name: &str) -> u64 {
        self.counter(name).map_or(0, |counter| counter.change)
    }

    /// `change` per second.
    pub fn per_second(&self, change: u64) -> f64 {
        if self.span.0 == 0 { 0.0 } else { change as f64 / self.seconds() }
    }

    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        self.span.as_millis_f64() / 1000.0
    }
}
