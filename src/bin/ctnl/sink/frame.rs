//! Frames: a kind, a length, and a checksum over all of it. All numbers are little-endian.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Kind, length and checksum.
pub const HEADER: usize = 9;
/// What a file begins with, or a note.
pub const HEAD: u8 = 0;
/// Lines.
pub const CHUNK: u8 = 1;
/// Lines that are missing.
pub const GAP: u8 = 2;
/// No frame is longer.
const LONGEST: usize = 64 << 20;

/// A frame of `body`.
pub fn sealed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut head = vec![kind];
    head.extend((body.len() as u32).to_le_bytes());
    let mut bytes = head.clone();
    bytes.extend(checksum(&head, body).to_le_bytes());
    bytes.extend(body);
    bytes
}

/// Over both.
pub fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

/// False where the file ends before.
pub fn read_whole(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// The frame at `offset` of a file that ends at `end`; None where it is not whole.
pub fn read_frame(file: &File, offset: u64, end: u64) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut header = [0; HEADER];
    if !read_whole(file, &mut header, offset)? {
        return Ok(None);
    }
    let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let is_within = offset.saturating_add((HEADER + length) as u64) <= end;
    if length > LONGEST || !is_within {
        return Ok(None);
    }
    let mut body = vec![0; length];
    let whole = read_whole(file, &mut body, offset + HEADER as u64)?;
    let good = whole && checksum(&[kind, l0, l1, l2, l3], &body) == u32::from_le_bytes([c0, c1, c2, c3]);
    Ok(good.then_some((kind, body)))
}

/// A number, and what is behind it.
pub fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u64::from_le_bytes(*number), rest))
}
