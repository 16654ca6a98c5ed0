//! The files of a spool.
//!
//! A file begins with the number of its first line and the name of its stream. Frames follow:
//! one that a crash cut short, or that the disk does not give back as it was, is seen as such,
//! and the next one is looked for behind it. So each of them has all that is needed to read it
//! alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use ctnl::output::GapCause;

use super::frame::{CHUNK, GAP, HEAD, HEADER, number, read_frame, read_whole, sealed};
use super::queue::{Gap, Item};
use crate::chunk::Chunk;

const MAGIC: &[u8; 8] = b"ctnlspl2";

/// What an item takes in a file.
pub fn size_of(item: &Item) -> u64 {
    (HEADER + 36 + item.stream().len() + item.bytes()) as u64
}

fn frame(item: &Item) -> Vec<u8> {
    let name = item.stream().as_bytes();
    let mut body = Vec::with_capacity(36 + name.len() + item.bytes());
    body.extend(item.first().to_le_bytes());
    body.extend((name.len() as u32).to_le_bytes());
    body.extend(name);
    let kind = match item {
        Item::Chunk(chunk) => {
            body.extend(chunk.lines.to_le_bytes());
            body.extend(&chunk.bytes);
            CHUNK
        }
        Item::Gap(gap) => {
            body.extend([gap.lines, gap.from, gap.to].map(u64::to_le_bytes).concat());
            body.push(number_of(gap.cause));
            GAP
        }
    };
    sealed(kind, &body)
}

fn number_of(cause: GapCause) -> u8 {
    match cause {
        GapCause::Kernel => 0,
        GapCause::Queue => 1,
        GapCause::Spool => 2,
        GapCause::Unreadable => 3,
        GapCause::Refused => 4,
    }
}

fn cause_of(number: u8) -> GapCause {
    match number {
        0 => GapCause::Kernel,
        1 => GapCause::Queue,
        3 => GapCause::Unreadable,
        4 => GapCause::Refused,
        _ => GapCause::Spool,
    }
}

/// A file that grows.
#[derive(Debug)]
pub struct Writer {
    file: File,
    stream: Arc<str>,
    first: u64,
    next: u64,
    size: u64,
}

impl Writer {
    /// A new file for the stream of `item`, which is the first.
    pub fn create(path: &Path, item: &Item) -> io::Result<Self> {
        let (stream, first) = (Arc::clone(item.stream()), item.first());
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let head = sealed(HEAD, &[&first.to_le_bytes(), stream.as_bytes()].concat());
        let mut writer = Writer { file, stream, first, next: first, size: 0 };
        writer.write(&[MAGIC, &head[..]].concat())?;
        Ok(writer)
    }

    /// Whether an item belongs into this file, which is `full` at so many bytes.
    pub fn takes(&self, item: &Item, full: u64) -> bool {
        self.size < full && *item.stream() == self.stream
    }

    /// Bytes of whole frames.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The stream, and the number of its first line in this file.
    pub fn begin(&self) -> (&Arc<str>, u64) {
        (&self.stream, self.first)
    }

    /// The stream, and the number of the line behind all that was appended.
    pub fn end(&self) -> (&Arc<str>, u64) {
        (&self.stream, self.next)
    }

    /// Appends an item, wholly or not at all.
    pub fn append(&mut self, item: &Item) -> io::Result<()> {
        self.write(&frame(item))?;
        self.next = self.next.max(item.next());
        Ok(())
    }

    /// The next frame goes over what was written of one that failed.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all_at(bytes, self.size);
        match &written {
            Ok(()) => self.size += bytes.len() as u64,
            Err(_) => self.file.set_len(self.size)?,
        }
        written
    }

    /// Synchronises it to the disk.
    pub fn close(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.sync_data()
    }
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// An item.
    Item(Item),
    /// Nothing.
    End,
    /// Something that is no whole frame. It is passed over.
    Damaged,
}

/// A file that is delivered.
#[derive(Debug)]
pub struct Reader {
    file: File,
    number: u64,
    begin: Option<(Arc<str>, u64)>,
    offset: u64,
    /// Length of the frame that was looked at, its stream, and the number of the line behind it.
    looked: Option<(u64, Arc<str>, u64)>,
}

impl Reader {
    /// Opens the file with `number`, at a frame's beginning or, with 0, at the first. None: it
    /// is gone.
    pub fn open(path: &Path, number: u64, offset: u64) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let head = read_head(&file)?;
        let first = head.as_ref().map_or(0, |(_, _, length)| *length);
        let begin = head.map(|(stream, number, _)| (stream, number));
        Ok(Some(Reader { file, number, begin, offset: offset.max(first), looked: None }))
    }

    /// The stream, and the number of its first line in this file, where that can be read.
    pub fn begin(&self) -> Option<(&Arc<str>, u64)> {
        self.begin.as_ref().map(|(stream, first)| (stream, *first))
    }

    /// The file's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes that are delivered.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next item, which stays. `end` is that of a file that is still written.
    pub fn peek(&mut self, end: Option<u64>) -> io::Result<Read> {
        let end = end.map_or_else(|| self.file.metadata().map(|metadata| metadata.len()), Ok)?;
        if end <= self.offset {
            return Ok(Read::End);
        }
        let frame = read_frame(&self.file, self.offset, end)?;
        let read = frame.and_then(|(kind, body)| Some((body.len(), item_of(kind, &body)?)));
        let Some((length, item)) = read else {
            self.offset = self.find_frame(end)?;
            return Ok(Read::Damaged);
        };
        self.looked = Some(((HEADER + length) as u64, Arc::clone(item.stream()), item.next()));
        Ok(Read::Item(item))
    }

    /// Where the next whole frame begins behind the damaged one; `end` where none does.
    fn find_frame(&self, end: u64) -> io::Result<u64> {
        let mut block = [0; 4096];
        let mut offset = self.offset + 1;
        while offset < end {
            let read = self.file.read_at(&mut block, offset)?.max(1);
            for (at, kind) in (offset..end).zip(block.iter().take(read)) {
                // Lines have neither byte in them, so that hardly anything is read twice.
                if matches!(*kind, CHUNK | GAP) && read_frame(&self.file, at, end)?.is_some() {
                    return Ok(at);
                }
            }
            offset += read as u64;
        }
        Ok(end)
    }

    /// The item that was looked at is delivered. Its stream, and the number of the line behind it.
    pub fn advance(&mut self) -> Option<(Arc<str>, u64)> {
        let (length, stream, next) = self.looked.take()?;
        self.offset += length;
        Some((stream, next))
    }
}

/// The stream, the number of its first line, and the length of a file's beginning.
fn read_head(file: &File) -> io::Result<Option<(Arc<str>, u64, u64)>> {
    let mut magic = [0; MAGIC.len()];
    let is_ours = read_whole(file, &mut magic, 0)? && magic == *MAGIC;
    let head = read_frame(file, magic.len() as u64, file.metadata()?.len())?.filter(|_| is_ours);
    Ok(head.and_then(|(_, head)| {
        let (first, name) = number(&head)?;
        let stream = std::str::from_utf8(name).ok()?.into();
        Some((stream, first, (magic.len() + HEADER + head.len()) as u64))
    }))
}

fn item_of(kind: u8, body: &[u8]) -> Option<Item> {
    let (first, rest) = number(body)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let stream: Arc<str> = std::str::from_utf8(name).ok()?.into();
    match kind {
        CHUNK => {
            let (lines, bytes) = rest.split_first_chunk()?;
            let lines = u32::from_le_bytes(*lines);
            Some(Item::Chunk(Arc::new(Chunk { stream, first, lines, bytes: bytes.to_vec() })))
        }
        GAP => {
            let (lines, rest) = number(rest)?;
            let (from, rest) = number(rest)?;
            let (to, rest) = number(rest)?;
            Some(Item::Gap(Gap { stream, cause: cause_of(*rest.first()?), first, lines, from, to }))
        }
        _ => None,
    }
}
