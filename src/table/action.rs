//! What is done with the entries that are chosen.

use super::patch::Patch;

/// What is done with each target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Delete it.
    Delete,
    /// Change it by the patch.
    Update(Patch),
}
