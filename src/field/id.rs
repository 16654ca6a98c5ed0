//! The identity of a field.

use super::{FIELDS, Field};

/// Which field a row of the registry is about. The variants are in the order of the
/// registry ([`super::FIELDS`]), which the compiler checks; the rows have their docs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the row of each field documents it")]
#[non_exhaustive]
pub enum FieldId {
    Src,
    Dst,
    Addr,
    ReplySrc,
    ReplyDst,
    AnyAddr,
    NatAddr,
    NatSrc,
    NatDst,
    MasterSrc,
    MasterDst,
    Sport,
    Dport,
    Port,
    ReplySport,
    ReplyDport,
    AnyPort,
    NatPort,
    NatSport,
    NatDport,
    IcmpType,
    IcmpCode,
    IcmpId,
    GreKey,
    Family,
    Protocol,
    Zone,
    OrigZone,
    ReplyZone,
    Mark,
    Label,
    Helper,
    Secctx,
    Id,
    Use,
    Attribute,
    State,
    Status,
    Nat,
    OrigTcpFlags,
    ReplyTcpFlags,
    Timeout,
    Idle,
    Age,
    Start,
    Packets,
    Bytes,
    OrigPackets,
    ReplyPackets,
    OrigBytes,
    ReplyBytes,
}

impl FieldId {
    /// The row of this field.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "the compiler checks that each variant is the place of its row")]
    pub fn field(self) -> &'static Field {
        &FIELDS[self as usize]
    }
}

/// A row that is not at the place of its variant is a build error.
const _: () = {
    let mut rows: &[Field] = FIELDS;
    let mut place = 0;
    while let Some((row, rest)) = rows.split_first() {
        assert!(row.id as usize == place, "the variants of FieldId and the rows have another order");
        place += 1;
        rows = rest;
    }
    assert!(FieldId::ReplyBytes as usize + 1 == place, "a variant of FieldId without a row");
};
