//! What the kernel says about an entry when it changes.

use netlink_packet_core::NLM_F_CREATE;

use super::flow::Flow;
use crate::wire::uapi::{ipctnl_msg_ct, nfnl_subsys};
use crate::wire::{DecodeError, Message};

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It came into the table.
    #[doc(alias = "NFNLGRP_CONNTRACK_NEW")]
    New,
    /// Something about it changed: state, status, mark, label, helper. Neither
    /// counters nor a refreshed timeout count as a change.
    #[doc(alias = "NFNLGRP_CONNTRACK_UPDATE")]
    Update,
    /// It left the table.
    #[doc(alias = "NFNLGRP_CONNTRACK_DESTROY")]
    Destroy,
}

/// An event. One event may merge several causes; what it carries is the state when
/// the kernel sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The netlink port of who asked for it over netlink; 0 for the packet path,
    /// expiry and the garbage collector. Often, but not always, a process id.
    #[doc(alias = "nlmsg_pid")]
    pub port: u32,
    /// The entry. Of a destroyed one the kernel sends no labels and no helper.
    pub flow: Flow,
    /// Its mark is 0 because none was sent: conntrack(8) shows none then.
    pub is_mark_implied: bool,
}

impl EventKind {
    /// What `message` says about an entry; None for a message of something else.
    #[must_use]
    #[inline]
    pub fn of(message: &Message<'_>) -> Option<Self> {
        let [subsystem, command] = message.kind.to_be_bytes();
        match (subsystem, command) {
            (nfnl_subsys::CTNETLINK, ipctnl_msg_ct::NEW) if message.flags & NLM_F_CREATE != 0 => Some(EventKind::New),
            (nfnl_subsys::CTNETLINK, ipctnl_msg_ct::NEW) => Some(EventKind::Update),
            (nfnl_subsys::CTNETLINK, ipctnl_msg_ct::DELETE) => Some(EventKind::Destroy),
            _ => None,
        }
    }

    /// Its word: `new`, `update`, `destroy`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EventKind::New => "new",
            EventKind::Update => "update",
            EventKind::Destroy => "destroy",
        }
    }
}

impl Event {
    /// An event of nothing, to decode into.
    #[must_use]
    pub fn blank() -> Self {
        Event { kind: EventKind::New, port: 0, flow: Flow::blank(), is_mark_implied: false }
    }

    /// Reads the event in `message`, which is of this `kind`, into this one, of
    /// which nothing is kept.
    ///
    /// A mark that is not sent is 0: the kernel leaves out that one alone, and
    /// only in events. (So do kernels that were built without marks, whose dumps
    /// have none; and some of 6.0 and 6.1 left out others that had not changed.)
    /// What else is not sent may still be there: of state, labels and master an
    /// event carries what changed. Only one that was caused over netlink, and the
    /// end of an entry, always have the state.
    ///
    /// # Errors
    /// As [`Flow::decode`]. The event then holds parts of both.
    #[inline]
    pub fn decode_from(&mut self, kind: EventKind, message: &Message<'_>) -> Result<(), DecodeError> {
        self.kind = kind;
        self.port = message.port;
        self.flow.decode_from(message)?;
        self.is_mark_implied = self.flow.mark.is_none();
        self.flow.mark.get_or_insert(0);
        Ok(())
    }
}
