//! Requests, serialized into one buffer that can hold a batch.

use bytes::{BufMut, BytesMut};
use netlink_packet_core::{Emitable, NLA_F_NESTED, NLM_F_REQUEST, NetlinkHeader};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterProtoFamily};

use super::family::Family;

/// A buffer of requests that are sent together.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    bytes: BytesMut,
    count: usize,
}

/// The header fields of one request.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// `NFNL_SUBSYS_*`.
    pub subsystem: u8,
    /// The command within the subsystem.
    pub command: u8,
    /// `NLM_F_*` in addition to `NLM_F_REQUEST`.
    pub flags: u16,
    /// Address family.
    pub family: Family,
    /// Sequence number, repeated in the replies.
    pub sequence: u32,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one request, whose attributes are written by `fill`.
    pub fn push(&mut self, header: Header, fill: impl FnOnce(&mut AttributeWriter<'_>)) {
        let start = self.bytes.len();
        let mut fixed = [0; 20];
        let mut netlink = NetlinkHeader::default();
        netlink.message_type = u16::from_be_bytes([header.subsystem, header.command]);
        netlink.flags = NLM_F_REQUEST | header.flags;
        netlink.sequence_number = header.sequence;
        netlink.emit(&mut fixed);
        if let Some(rest) = fixed.get_mut(16..) {
            NetfilterHeader::new(NetfilterProtoFamily::from(header.family.number()), 0, 0).emit(rest);
        }
        self.bytes.put_slice(&fixed);
        fill(&mut AttributeWriter { bytes: &mut self.bytes });
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        overwrite(&mut self.bytes, start, &length.to_ne_bytes());
        self.count += 1;
    }

    /// The bytes to send.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the batch has no request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Removes all requests and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }
}

/// Writes attributes to the end of a request.
#[derive(Debug)]
pub struct AttributeWriter<'a> {
    bytes: &'a mut BytesMut,
}

impl AttributeWriter<'_> {
    /// Writes one attribute, padded to four bytes.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        self.write(kind, |bytes| bytes.put_slice(value));
    }

    /// Writes a nest, whose attributes are written by `fill`.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut AttributeWriter<'_>)) {
        self.write(kind | NLA_F_NESTED, |bytes| fill(&mut AttributeWriter { bytes }));
    }

    fn write(&mut self, kind: u16, value: impl FnOnce(&mut BytesMut)) {
        let start = self.bytes.len();
        self.bytes.put_u16_ne(0);
        self.bytes.put_u16_ne(kind);
        value(self.bytes);
        let length = self.bytes.len() - start;
        overwrite(self.bytes, start, &u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
        self.bytes.put_bytes(0, length.next_multiple_of(4) - length);
    }
}

fn overwrite(bytes: &mut BytesMut, at: usize, value: &[u8]) {
    if let Some(target) = bytes.get_mut(at..at + value.len()) {
        target.copy_from_slice(value);
    }
}
