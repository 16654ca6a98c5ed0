//! What a command asks for, besides the filter.

use ctnl::table::Action;

use crate::host::ssh::OwnSessions;

/// What is done with the entries that match, and its bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// The command, as the summary names it.
    pub command: &'static str,
    /// Count what would be done, by state and by source, and change nothing.
    pub preview: bool,
    /// What is done.
    pub action: Action,
    /// Sessions whose entries are spared.
    pub sessions: OwnSessions,
    /// Most entries to act on.
    pub max: Option<u64>,
    /// On a terminal, ask before acting on more than this share of the table, in percent. `None` to
    /// not ask.
    pub ask_above: Option<u8>,
}

impl Options {
    /// The seconds to which timeouts are lowered; `None` where entries are deleted.
    pub fn soft(&self) -> Option<u32> {
        match self.action {
            Action::Delete => None,
            Action::LowerTimeout(seconds) => Some(seconds),
        }
    }
}
