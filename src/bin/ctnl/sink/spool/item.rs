//! Items as frames. Each frame contains its stream's name and line numbers, so that it can be
//! read even if the one before it is damaged.

use std::sync::Arc;

use super::frame::{FRAME_HEADER, KIND_CHUNK, KIND_GAP, KIND_RECEIPT, encode_frame, split_u64};
use crate::chunk::Chunk;
use crate::sink::deliver::Receipt;
use crate::sink::queue::{DropCause, Gap, Item};

/// Bytes of a frame's body besides the stream's name and the lines, at most.
const FIXED: usize = 37;

/// The size of an item's frame, at most.
pub fn encoded_size(item: &Item) -> u64 {
    (FRAME_HEADER + FIXED + item.stream().len() + item.bytes()) as u64
}

/// Encodes an item.
pub fn encode_item(item: &Item) -> Vec<u8> {
    let name = item.stream().as_bytes();
    let mut body = Vec::with_capacity(FIXED + name.len() + item.bytes());
    body.extend(item.first().to_le_bytes());
    body.extend((name.len() as u32).to_le_bytes());
    body.extend(name);
    let kind = match item {
        Item::Chunk(chunk) => {
            body.extend(chunk.lines.to_le_bytes());
            body.extend(&chunk.bytes);
            KIND_CHUNK
        }
        Item::Gap(gap) => {
            body.extend([gap.lines, gap.from, gap.to].map(u64::to_le_bytes).concat());
            body.push(encode_cause(gap.cause));
            KIND_GAP
        }
    };
    encode_frame(kind, &body)
}

/// Decodes an item from a frame's kind and body.
pub fn decode_item(kind: u8, body: &[u8]) -> Option<Item> {
    let (first, rest) = split_u64(body)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let stream: Arc<str> = std::str::from_utf8(name).ok()?.into();
    match kind {
        KIND_CHUNK => {
            let (lines, bytes) = rest.split_first_chunk()?;
            let lines = u32::from_le_bytes(*lines);
            Some(Item::Chunk(Arc::new(Chunk { stream, first, lines, bytes: bytes.to_vec() })))
        }
        KIND_GAP => {
            let (lines, rest) = split_u64(rest)?;
            let (from, rest) = split_u64(rest)?;
            let (to, rest) = split_u64(rest)?;
            Some(Item::Gap(Gap { stream, cause: decode_cause(*rest.first()?), first, lines, from, to }))
        }
        _ => None,
    }
}

/// Encodes a receipt.
pub fn encode_receipt(receipt: &Receipt) -> Vec<u8> {
    let Receipt { store, first, last, stream, line } = receipt;
    let mut body = [*first, *last, *line].map(u64::to_le_bytes).concat();
    body.extend((store.len() as u32).to_le_bytes());
    body.extend(store.bytes());
    body.extend(stream.bytes());
    encode_frame(KIND_RECEIPT, &body)
}

/// Decodes a receipt from a frame's kind and body.
pub fn decode_receipt(kind: u8, body: &[u8]) -> Option<Receipt> {
    let (first, rest) = split_u64(body)?;
    let (last, rest) = split_u64(rest)?;
    let (line, rest) = split_u64(rest)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (store, stream) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let (store, stream) = (std::str::from_utf8(store).ok()?, std::str::from_utf8(stream).ok()?);
    let receipt = Receipt { store: store.into(), first, last, stream: stream.into(), line };
    (kind == KIND_RECEIPT).then_some(receipt)
}

fn encode_cause(cause: DropCause) -> u8 {
    match cause {
        DropCause::Queue => 1,
        DropCause::Spool => 2,
        DropCause::Refused => 4,
    }
}

fn decode_cause(number: u8) -> DropCause {
    match number {
        1 => DropCause::Queue,
        4 => DropCause::Refused,
        _ => DropCause::Spool,
    }
}
