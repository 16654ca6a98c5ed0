//! The expectation that a delete is for.

use crate::model::{Expectation, Family, Tuple};
use crate::wire::uapi::{cta_expect, nfnl_subsys};
use crate::wire::{AttributeWriter, Header};

/// One expectation, identified by its tuple, zone and id as dumped. To the kernel, a delete without a tuple is one of
/// all expectations (`ctnetlink_del_expect` in net/netfilter/nf_conntrack_netlink.c), so it cannot be expressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectationTarget {
    tuple: Tuple,
    zone: u16,
    id: u32,
}

/// Why no target can be made from an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum NotExpectable {
    /// The tuple lacks a part, or has one that this version does not know.
    #[error("incomplete or unknown tuple")]
    Tuple,
    /// Neither IPv4 nor IPv6.
    #[error("neither IPv4 nor IPv6")]
    UnknownFamily,
    /// The kernel sent no id.
    #[error("the kernel sent no id")]
    NoId,
}

impl ExpectationTarget {
    /// The target of `expectation`. A dump does not show the zone of its master: see
    /// [`expect_zone`](super::expect_zone) and [`ExpectationTarget::in_zone`].
    ///
    /// # Errors
    /// What is missing to identify it.
    pub fn of(expectation: &Expectation) -> Result<Self, NotExpectable> {
        let tuple = expectation.tuple;
        if tuple.has_unknown_part || !tuple.is_complete() {
            return Err(NotExpectable::Tuple);
        }
        if expectation.family != tuple.family() || matches!(expectation.family, Family::Other(_)) {
            return Err(NotExpectable::UnknownFamily);
        }
        let id = expectation.id.ok_or(NotExpectable::NoId)?;
        Ok(ExpectationTarget { tuple, zone: expectation.zone.unwrap_or(0), id })
    }

    /// The same with a master in zone `zone`.
    #[must_use]
    pub fn in_zone(self, zone: u16) -> Self {
        ExpectationTarget { zone, ..self }
    }

    /// The expected tuple.
    #[must_use]
    pub fn tuple(&self) -> &Tuple {
        &self.tuple
    }

    /// The zone of the master.
    #[must_use]
    pub fn zone(&self) -> u16 {
        self.zone
    }

    /// The kernel's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The headers of a request about this expectation.
    pub(super) fn header(&self, command: u8, flags: u16, sequence: u32) -> Header {
        header(self.tuple.family(), command, flags, sequence)
    }

    /// Writes tuple and zone.
    pub(super) fn emit_without_id(&self, writer: &mut AttributeWriter<'_>) {
        emit_tuple(writer, &self.tuple, self.zone);
    }

    /// Writes tuple, zone and id.
    pub(super) fn emit(&self, writer: &mut AttributeWriter<'_>) {
        self.emit_without_id(writer);
        writer.put(cta_expect::ID, &self.id.to_be_bytes());
    }
}

pub(super) fn header(family: Family, command: u8, flags: u16, sequence: u32) -> Header {
    Header { subsystem: nfnl_subsys::CTNETLINK_EXP, command, flags, family, sequence }
}

pub(super) fn emit_tuple(writer: &mut AttributeWriter<'_>, tuple: &Tuple, zone: u16) {
    tuple.emit(writer, cta_expect::TUPLE);
    if zone != 0 {
        writer.put(cta_expect::ZONE, &zone.to_be_bytes());
    }
}
