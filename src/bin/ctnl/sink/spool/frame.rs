//! Frames: kind, length, CRC-32 of all of it, body. Integers are little-endian.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Size of kind, length and checksum.
pub const FRAME_HEADER: usize = 9;
/// Kind of the first frame of a segment, and of the position file.
pub const KIND_HEADER: u8 = 0;
/// Kind of a frame with lines.
pub const KIND_CHUNK: u8 = 1;
/// Kind of a frame for missing lines.
pub const KIND_GAP: u8 = 2;
/// Kind of a frame for what acknowledged the item before it.
pub const KIND_RECEIPT: u8 = 3;
/// A longer body is taken for damage.
const MAX_BODY: usize = 64 << 20;

/// Encodes a frame.
pub fn encode_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut head = vec![kind];
    head.extend((body.len() as u32).to_le_bytes());
    let mut bytes = head.clone();
    bytes.extend(checksum(&head, body).to_le_bytes());
    bytes.extend(body);
    bytes
}

/// CRC-32 of both parts.
pub fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

/// Fills `bytes` from `offset`. Returns false if the file ends before that.
pub fn read_whole(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// Reads the frame at `offset`, in a file that ends at `end`. Returns None if it is damaged.
pub fn read_frame(file: &File, offset: u64, end: u64) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut header = [0; FRAME_HEADER];
    if !read_whole(file, &mut header, offset)? {
        return Ok(None);
    }
    let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let is_within = offset.saturating_add((FRAME_HEADER + length) as u64) <= end;
    if length > MAX_BODY || !is_within {
        return Ok(None);
    }
    let mut body = vec![0; length];
    let is_whole = read_whole(file, &mut body, offset + FRAME_HEADER as u64)?;
    let is_valid = is_whole && checksum(&[kind, l0, l1, l2, l3], &body) == u32::from_le_bytes([c0, c1, c2, c3]);
    Ok(is_valid.then_some((kind, body)))
}

/// Splits off a 64-bit integer.
pub fn split_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u64::from_le_bytes(*number), rest))
}
