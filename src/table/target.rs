//! The entry that a delete or an update is for.

use crate::model::{Family, Flow, Status, Tuple};
use crate::wire::uapi::{cta, nfnl_subsys};
use crate::wire::{AttributeWriter, Header};

/// One entry of the table, identified by its complete tuple, zone and id as dumped, so that a request
/// can be neither for another entry nor for a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    tuple: Tuple,
    zone: Option<u16>,
    id: u32,
    /// As dumped: a request that adds status bits has to repeat the others.
    status: Status,
}

/// Why no target can be made from an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum NotDeletable {
    /// The tuple lacks a part that the kernel keeps for its protocol.
    #[error("incomplete tuple")]
    IncompleteTuple,
    /// The tuple has a part that this version does not know.
    #[error("unknown part in the tuple")]
    UnknownPart,
    /// The kernel sent no id.
    #[error("the kernel sent no id")]
    NoId,
    /// Neither IPv4 nor IPv6.
    #[error("neither IPv4 nor IPv6")]
    UnknownFamily,
}

impl NotDeletable {
    /// The reason as one word, for summaries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            NotDeletable::IncompleteTuple => "incomplete-tuple",
            NotDeletable::UnknownPart => "unknown-part",
            NotDeletable::NoId => "no-id",
            NotDeletable::UnknownFamily => "unknown-family",
        }
    }
}

impl Target {
    /// The target of `flow`.
    ///
    /// # Errors
    /// What is missing to identify it.
    pub fn of(flow: &Flow) -> Result<Self, NotDeletable> {
        let tuple = flow.orig;
        if tuple.has_unknown_part {
            return Err(NotDeletable::UnknownPart);
        }
        if !tuple.is_complete() {
            return Err(NotDeletable::IncompleteTuple);
        }
        if flow.family != tuple.family() || matches!(flow.family, Family::Other(_)) {
            return Err(NotDeletable::UnknownFamily);
        }
        let id = flow.id.ok_or(NotDeletable::NoId)?;
        Ok(Target { tuple, zone: flow.zone_both, id, status: flow.status })
    }

    /// The address family.
    #[must_use]
    pub fn family(&self) -> Family {
        self.tuple.family()
    }

    /// The tuple of the original direction.
    #[must_use]
    pub fn tuple(&self) -> &Tuple {
        &self.tuple
    }

    /// The headers of a request about this entry.
    pub(super) fn header(&self, command: u8, flags: u16, sequence: u32) -> Header {
        Header { subsystem: nfnl_subsys::CTNETLINK, command, flags, family: self.family(), sequence }
    }

    /// Whether `other` is of this entry: the same tuple, zone and id.
    pub(super) fn is(&self, other: &Target) -> bool {
        (self.tuple, self.zone, self.id) == (other.tuple, other.zone, other.id)
    }

    /// The status of the entry when it was dumped.
    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// Writes tuple and zone, for a request that takes no id.
    pub(super) fn emit_without_id(&self, writer: &mut AttributeWriter<'_>) {
        self.tuple.emit(writer, cta::TUPLE_ORIG);
        if let Some(zone) = self.zone {
            writer.put(cta::ZONE, &zone.to_be_bytes());
        }
    }

    /// Writes tuple, zone and id. A dumped entry has either a zone of both directions or one in the
    /// tuple; both at once are `EINVAL` (`ctnetlink_parse_tuple_zone` in
    /// net/netfilter/nf_conntrack_netlink.c).
    pub(super) fn emit(&self, writer: &mut AttributeWriter<'_>) {
        self.emit_without_id(writer);
        writer.put(cta::ID, &self.id.to_be_bytes());
    }
}
