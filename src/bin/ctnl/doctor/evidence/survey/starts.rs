//! Entries that are older than those who listen to events.

use super::entry::{SurveyedEntry, Tally};

/// Entries by the time of their creation, where `nf_conntrack_timestamp` was 1 then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Starts {
    /// When the first listener was started, in ns of `CLOCK_REALTIME`.
    first_listener: Option<u64>,
    /// Created before.
    pub before: u64,
    /// Created after, or nobody listens.
    pub after: u64,
    /// Without a time of creation.
    pub unknown: u64,
}

impl Starts {
    /// No entries yet.
    pub fn beside(first_listener: Option<u64>) -> Self {
        Starts { first_listener, ..Starts::default() }
    }
}

impl Tally for Starts {
    #[inline]
    fn add(&mut self, entry: &SurveyedEntry<'_>) {
        match (entry.flow.start, self.first_listener) {
            (Some(start), Some(first)) if start < first => self.before += 1,
            (Some(_), _) => self.after += 1,
            (None, _) => self.unknown += 1,
        }
    }
}
