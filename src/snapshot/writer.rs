//! Writes the binary format.

use super::entry;
use super::frame::{Chain, Kind, MAGIC, VERSION};
use super::head::{End, Head};
use crate::model::Flow;
use crate::units::Nanos;

/// The size at which a block is closed. With its last entry it fits into what a chunk of output has to spare: with 32 KiB
/// the chunks grew, and a save had 0.6 MiB more.
const BLOCK: usize = 3584;

/// Appends a save file to a `Vec<u8>`; it does no I/O. Call [`BinaryWriter::begin`], then
/// [`BinaryWriter::entry`] for each entry, then [`BinaryWriter::end`].
#[derive(Debug, Default)]
pub struct BinaryWriter {
    chain: Chain,
    /// The time of the first entry, and the entries.
    block: Vec<u8>,
    end: End,
}

impl BinaryWriter {
    /// A writer, with the head of the file appended to `out`.
    #[must_use]
    pub fn begin(out: &mut Vec<u8>, head: &Head) -> Self {
        let mut writer = BinaryWriter::default();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        writer.chain.write(out, Kind::Head, &head.encode());
        writer
    }

    /// Adds an entry that the kernel dumped at `time`, in nanoseconds since 1970. The bytes are appended to `out`
    /// with those of the entries around it.
    #[inline]
    pub fn entry(&mut self, out: &mut Vec<u8>, flow: &Flow, time: Nanos) {
        if self.block.is_empty() {
            self.block.extend_from_slice(&time.0.to_le_bytes());
        }
        entry::encode(&mut self.block, flow);
        self.end.add(flow);
        if self.block.len() >= BLOCK {
            self.close_block(out);
        }
    }

    /// Appends the entries so far as a block, if there are any.
    pub fn close_block(&mut self, out: &mut Vec<u8>) {
        if !self.block.is_empty() {
            self.chain.write(out, Kind::Entries, &self.block);
            self.block.clear();
        }
    }

    /// Appends the rest and the end, without which the file is one that was cut short.
    pub fn end(mut self, out: &mut Vec<u8>) -> End {
        self.close_block(out);
        let body = self.end.encode(self.chain.digest());
        self.chain.write(out, Kind::End, &body);
        self.end
    }
}
