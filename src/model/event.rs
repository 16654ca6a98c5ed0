//! Events: what the kernel reports when an entry changes.

use netlink_packet_core::NLM_F_CREATE;

use super::flow::Flow;
use crate::wire::uapi::{ipctnl_msg_ct, nfnl_subsys};
use crate::wire::{DecodeError, Message};

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The entry was created.
    #[doc(alias = "NFNLGRP_CONNTRACK_NEW")]
    New,
    /// State, status, mark, label or helper changed. Counters and a refreshed timeout cause no
    /// event.
    #[doc(alias = "NFNLGRP_CONNTRACK_UPDATE")]
    Update,
    /// The entry was destroyed.
    #[doc(alias = "NFNLGRP_CONNTRACK_DESTROY")]
    Destroy,
}

/// An event. The kernel merges several causes into one event, which has the state at the time when
/// it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The netlink port id of the requester; 0 for the packet path, expiry and the garbage
    /// collector. Often the PID of the requester.
    #[doc(alias = "nlmsg_pid")]
    pub port: u32,
    /// The entry. In destroy events the kernel sends neither labels nor helper.
    pub flow: Flow,
    /// The mark is 0 because the kernel sent none: conntrack(8) prints no mark then.
    pub is_mark_implied: bool,
}

impl EventKind {
    /// The kind of event in `message`; `None` for a message without an entry.
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

    /// `new`, `update` or `destroy`.
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
    /// An event without an entry, to decode into.
    #[must_use]
    pub fn blank() -> Self {
        Event { kind: EventKind::New, port: 0, flow: Flow::blank(), is_mark_implied: false }
    }

    /// Decodes the event in `message`, which is of this `kind`, and replaces all fields.
    ///
    /// A mark that is not sent is 0: in events, `ctnetlink_dump_mark` in
    /// net/netfilter/nf_conntrack_netlink.c omits a mark of 0. (Kernels built without marks
    /// send none either; some of 6.0 and 6.1 also omitted a mark that had not changed.) State,
    /// labels and master are sent where they have changed, so that one that is not sent may
    /// still exist; the state is always sent in events caused over netlink and in destroy events.
    ///
    /// # Errors
    /// As [`Flow::decode`]. The event then has parts of both.
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
