//! The position file: how far a spool was delivered.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::frame::{KIND_HEADER, encode_frame, read_frame, split_u64};

/// How far a spool was delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The number of a segment; 0 if unknown.
    pub segment: u64,
    /// Delivered bytes of it.
    pub offset: u64,
    /// The line that comes next, if known.
    pub expected: Option<LineId>,
}

/// A line by its stream and number. If the spool continues with a greater number than expected,
/// the lines in between are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineId {
    /// The stream.
    pub stream: Arc<str>,
    /// The line's number in it.
    pub number: u64,
}

impl LineId {
    /// The line with `number` of `stream`.
    pub fn new(stream: &Arc<str>, number: u64) -> Self {
        LineId { stream: Arc::clone(stream), number }
    }

    /// How many lines are missing if the one with `number` of `stream` comes instead of this one.
    pub fn missing_before(&self, stream: &str, number: u64) -> u64 {
        if *self.stream == *stream { number.saturating_sub(self.number) } else { 0 }
    }

    /// The line that a segment begins with: `expected` is the one behind the segment before, and the segment
    /// has the stream, the number of its first line there, and that of the stream's first line in the spool.
    pub fn at_start_of_segment(expected: Option<LineId>, begins: Option<(&Arc<str>, u64, u64)>) -> Option<LineId> {
        match (expected, begins) {
            (None, Some((stream, first, _))) => Some(LineId::new(stream, first)),
            // The other stream is delivered. Earlier segments of this one may be missing.
            (Some(other), Some((stream, _, origin))) if other.stream != *stream => Some(LineId::new(stream, origin)),
            (expected, _) => expected,
        }
    }
}

/// Reads a position. A damaged file yields the default: nothing is known.
pub fn read_position(file: &File) -> Position {
    read_valid_position(file).ok().flatten().unwrap_or_default()
}

/// Reads a position. Returns None if the file is damaged.
pub fn read_valid_position(file: &File) -> io::Result<Option<Position>> {
    let frame = read_frame(file, 0, file.metadata()?.len())?;
    Ok(frame.and_then(|(_, body)| decode(&body)))
}

fn decode(body: &[u8]) -> Option<Position> {
    let (segment, rest) = split_u64(body)?;
    let (offset, rest) = split_u64(rest)?;
    let (number, name) = split_u64(rest)?;
    let stream = std::str::from_utf8(name).ok().filter(|stream| !stream.is_empty());
    Some(Position { segment, offset, expected: stream.map(|stream| LineId { stream: stream.into(), number }) })
}

/// Overwrites the position. What an earlier, longer one left behind it is ignored.
pub fn write_position(file: &File, position: &Position) -> io::Result<()> {
    let number = position.expected.as_ref().map_or(0, |expected| expected.number);
    let mut body: Vec<u8> = [position.segment, position.offset, number].map(u64::to_le_bytes).concat();
    body.extend(position.expected.iter().flat_map(|expected| expected.stream.bytes()));
    file.write_all_at(&encode_frame(KIND_HEADER, &body), 0)
}
