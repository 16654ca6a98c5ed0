//! The number of entries before and after the window.

use ctnl::table::Occupancy;
use ctnl::units::Nanos;

/// Two samples of the number of entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OccupancyChange {
    /// The first sample.
    pub before: Occupancy,
    /// The second one.
    pub after: Occupancy,
    /// The time between them.
    pub span: Nanos,
}

impl OccupancyChange {
    /// Entries now.
    pub fn entries(&self) -> u64 {
        self.after.entries.into()
    }

    /// What the number of entries grew by; negative where it shrank.
    pub fn growth(&self) -> i64 {
        i64::from(self.after.entries) - i64::from(self.before.entries)
    }
}
