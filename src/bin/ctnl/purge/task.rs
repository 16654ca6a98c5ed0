//! What is done with the entries that are chosen.

use ctnl::model::{Flow, Status};
use ctnl::table::{Action, NotUpdatable, Patch, Target};

use super::skip_reason::SkipReason;

/// What a command does with the entries that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Deletes them.
    Delete,
    /// Lowers their timeouts to this many seconds.
    LowerTimeout(u32),
    /// Lowers the timeouts that are longer than this many seconds to it.
    CapTimeout(u32),
    /// Changes those that are not yet as the patch makes them.
    Update(Patch),
}

impl Task {
    /// What is sent for each target.
    pub fn action(self) -> Action {
        match self {
            Task::Delete => Action::Delete,
            Task::LowerTimeout(seconds) | Task::CapTimeout(seconds) => Action::Update(Patch::timeout(seconds)),
            Task::Update(patch) => Action::Update(patch),
        }
    }

    /// The timeout that is written.
    pub fn written_timeout(self) -> Option<u32> {
        match self.action() {
            Action::Delete => None,
            Action::Update(patch) => patch.timeout,
        }
    }

    /// Whether `update` does it, which counts entries as updated and not as deleted.
    pub fn is_update(self) -> bool {
        matches!(self, Task::CapTimeout(_) | Task::Update(_))
    }

    /// Whether an entry may end earlier than without it: it is deleted, has less time left, is not refreshed
    /// any more, is in another state, or loses the helper that expects its other connections.
    pub fn may_shorten_lives(self) -> bool {
        match self {
            Task::Delete | Task::LowerTimeout(_) | Task::CapTimeout(_) => true,
            Task::Update(patch) => {
                let none = Patch::default();
                let rest = Patch { timeout: None, remove_helper: false, tcp: none.tcp, sctp: None, ..patch };
                rest != patch || patch.add_status.contains(Status::FixedTimeout)
            }
        }
    }

    /// Whether `flow` is already as it would be: its timeout is no longer than the one to write, or it meets the
    /// patch.
    pub fn is_done(self, flow: &Flow) -> bool {
        match self {
            Task::Delete => false,
            Task::LowerTimeout(seconds) | Task::CapTimeout(seconds) => flow.timeout.is_some_and(|left| left <= seconds),
            Task::Update(patch) => patch.is_met_by(flow),
        }
    }

    /// The target of `flow`, or why it is skipped.
    pub fn target(self, flow: &Flow) -> Result<Target, SkipReason> {
        match self.action() {
            Action::Delete => Target::of(flow).map_err(|why| SkipReason(NotUpdatable::NoTarget(why))),
            Action::Update(patch) => patch.target_of(flow).map_err(SkipReason),
        }
    }

    /// What is done, as the beginning of a question.
    pub fn question(self) -> &'static str {
        match self {
            Task::Delete => "Delete",
            Task::LowerTimeout(_) | Task::CapTimeout(_) => "Lower the timeout of",
            Task::Update(_) => "Update",
        }
    }

    /// What is being done, for the progress line.
    pub fn progress(self) -> &'static str {
        if self.is_update() { "updating" } else { "deleting" }
    }

    /// What has been done, for a message.
    pub fn done(self) -> &'static str {
        if self.is_update() { "changed" } else { "deleted" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctnl::table::{Masked, TcpPatch};

    #[test]
    fn a_change_of_mark_or_labels_shortens_no_life() {
        let mark = Patch { mark: Some(Masked { value: 1, mask: 1 }), ..Patch::default() };
        let with = |add_status| Task::Update(Patch { add_status, ..mark });
        assert!(!Task::Update(mark).may_shorten_lives());
        assert!(!with(Status::Assured).may_shorten_lives());
        assert!(with(Status::FixedTimeout).may_shorten_lives());
        let state = TcpPatch { state: Some(ctnl::model::TcpState::Close), ..TcpPatch::default() };
        assert!(Task::Update(Patch { tcp: state, ..mark }).may_shorten_lives());
        assert!(Task::Update(Patch { remove_helper: true, ..mark }).may_shorten_lives());
        assert!(Task::Update(Patch { timeout: Some(9), ..mark }).may_shorten_lives());
        assert!(Task::CapTimeout(9).may_shorten_lives() && Task::Delete.may_shorten_lives());
    }
}
