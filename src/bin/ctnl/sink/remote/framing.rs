//! How lines are packed for a stream or for datagrams.

use std::io;
use std::sync::Arc;

use super::datagram::DatagramSocket;
use crate::chunk::Chunk;

/// How lines are packed. A stream takes all bytes; datagrams end at `ends`.
pub trait Framing: Send {
    /// What each stream connection begins with.
    fn header(&self) -> &[u8] {
        &[]
    }

    /// Packs a chunk for a stream or for datagrams.
    fn pack(&self, chunk: &Chunk, packed: &mut Packed, datagrams: bool);

    /// Sends one datagram that is too long for the socket, if there is another way.
    fn send_long(&self, _: &DatagramSocket, _: &[u8], error: io::Error) -> io::Result<()> {
        Err(error)
    }
}

/// Packed messages, and where each of them ends.
#[derive(Debug, Default)]
pub struct Packed {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
    /// The indexes of those that the kernel refused to send.
    pub refused: Vec<usize>,
}

impl Packed {
    /// Removes everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.refused.clear();
    }
}

/// Lines as they are.
pub struct PlainFraming {
    pub header: Arc<[u8]>,
}

impl Framing for PlainFraming {
    fn header(&self) -> &[u8] {
        &self.header
    }

    fn pack(&self, chunk: &Chunk, packed: &mut Packed, _: bool) {
        packed.bytes.extend_from_slice(&chunk.bytes);
        packed.ends.push(packed.bytes.len());
    }
}
