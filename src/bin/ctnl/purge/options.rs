//! What a command asks for, besides the filter.

use ctnl::model::Flow;

use super::task::Task;
use crate::host::ssh::OwnSessions;

/// What is done with the entries that match, and its bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// The command, as the summary names it.
    pub command: &'static str,
    /// Count what would be done, by state and by source, and change nothing.
    pub preview: bool,
    /// What is done.
    pub task: Task,
    /// Sessions whose entries are spared.
    pub sessions: OwnSessions,
    /// Most entries to act on.
    pub max: Option<u64>,
    /// On a terminal, ask before acting on more than this share of the table, in percent. `None` to
    /// not ask.
    pub ask_above: Option<u8>,
    /// Without a terminal, stop before acting on more than this share of the table, in percent. `None` to
    /// never stop.
    pub stop_above: Option<u8>,
}

/// A table with fewer entries is never stopped for: [`Options::stop_above`].
pub const SMALL_TABLE: u64 = 100;

impl Options {
    /// Whether `flow` carries a session that is spared.
    pub fn spares(&self, flow: &Flow) -> bool {
        self.sessions.include(flow)
    }
}
