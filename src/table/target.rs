//! What a delete or an update names: one entry, whole.

use crate::model::{Family, Flow, Tuple};
use crate::wire::uapi::{cta, nfnl_subsys};
use crate::wire::{AttributeWriter, Header};

/// One entry of the table, named so that the kernel can take it for no other and
/// for no flush: complete tuple, zone and id as dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    tuple: Tuple,
    zone: Option<u16>,
    id: u32,
}

/// Why an entry cannot be named for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum NotDeletable {
    /// The tuple lacks what the kernel keeps for its protocol.
    #[error("its tuple is not complete")]
    IncompleteTuple,
    /// The tuple has a part that this version does not know.
    #[error("its tuple has a part that this version of ctnl does not know")]
    UnknownPart,
    /// The kernel sent no id.
    #[error("the kernel sent no id for it")]
    NoId,
    /// Neither IPv4 nor IPv6.
    #[error("it is neither IPv4 nor IPv6")]
    UnknownFamily,
}

impl Target {
    /// The target that `flow` is.
    ///
    /// # Errors
    /// What is missing for a request that could touch nothing else.
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
        Ok(Target { tuple, zone: flow.zone_both, id })
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

    /// Writes tuple, zone and id. Both zones at once would be `EINVAL`: a dumped
    /// entry has the one or the other.
    pub(super) fn emit(&self, writer: &mut AttributeWriter<'_>) {
        self.tuple.emit(writer, cta::TUPLE_ORIG);
        if let Some(zone) = self.zone {
            writer.put(cta::ZONE, &zone.to_be_bytes());
        }
        writer.put(cta::ID, &self.id.to_be_bytes());
    }
}
