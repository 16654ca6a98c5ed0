//! What is done with the entries that are chosen.

/// What is done with each target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Delete it.
    Delete,
    /// Lower its timeout to this many seconds: the next packet of a live flow restores it.
    LowerTimeout(u32),
}
