//! How far a spool was delivered, in a note beside its files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::frame::{HEAD, number, read_frame, sealed};

/// Where delivery stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The number of a file. 0 where it is not known.
    pub file: u64,
    /// What is delivered of it.
    pub offset: u64,
    /// What comes next, where that is known.
    pub due: Option<Due>,
}

/// The line that comes next: one with a greater number comes behind lines that are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its stream.
    pub stream: Arc<str>,
    /// Its number.
    pub number: u64,
}

/// Reads where delivery stands; that it is not known where the note is not whole.
pub fn read_note(note: &File) -> Position {
    let read = note.metadata().and_then(|metadata| read_frame(note, 0, metadata.len()));
    read.ok().flatten().and_then(|(_, body)| position_of(&body)).unwrap_or_default()
}

fn position_of(body: &[u8]) -> Option<Position> {
    let (file, rest) = number(body)?;
    let (offset, rest) = number(rest)?;
    let (next, name) = number(rest)?;
    let stream = std::str::from_utf8(name).ok().filter(|stream| !stream.is_empty());
    Some(Position { file, offset, due: stream.map(|stream| Due { stream: stream.into(), number: next }) })
}

/// Notes where delivery stands. What is behind it in the file does not count.
pub fn write_note(note: &File, position: &Position) -> io::Result<()> {
    let number = position.due.as_ref().map_or(0, |due| due.number);
    let mut body: Vec<u8> = [position.file, position.offset, number].map(u64::to_le_bytes).concat();
    body.extend(position.due.iter().flat_map(|due| due.stream.bytes()));
    note.write_all_at(&sealed(HEAD, &body), 0)
}
