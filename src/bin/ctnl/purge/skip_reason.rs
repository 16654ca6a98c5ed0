//! Entries that match and are skipped.

use ctnl::table::NotUpdatable;

/// Why an entry that matches is skipped: a request cannot identify it, or the kernel would ignore or undo what is
/// written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SkipReason(pub NotUpdatable);

impl SkipReason {
    /// The reason as one word, for summaries.
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}
