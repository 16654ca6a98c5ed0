//! What a tally is given of each entry.

use ctnl::age::Idle;
use ctnl::model::{Flow, Status};

/// An entry of the dump, with what more than one tally needs of it.
#[derive(Debug, Clone, Copy)]
pub struct SurveyedEntry<'a> {
    /// The entry.
    pub flow: &'a Flow,
    /// Its idle time, by the settings by which `ctnl flush --older` judges.
    pub idle: Idle,
}

impl SurveyedEntry<'_> {
    /// Whether the kernel may evict the entry for a new one: not ASSURED (`early_drop_list` in
    /// net/netfilter/nf_conntrack_core.c).
    pub fn is_evictable(&self) -> bool {
        !self.flow.status.contains(Status::Assured)
    }
}

/// Figures of the table that are made entry by entry, in memory that does not grow with the table.
pub trait Tally {
    /// Adds an entry.
    fn add(&mut self, entry: &SurveyedEntry<'_>);
}
