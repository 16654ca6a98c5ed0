//! The files of a spool.
//!
//! A file begins with the name of its stream. Frames follow, each with its length and a
//! checksum over all of it: a frame that a crash cut short is seen as such. All numbers are
//! little-endian.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use ctnl::output::GapCause;

use super::queue::{Gap, Item};
use crate::chunk::Chunk;

const MAGIC: &[u8; 8] = b"ctnlspl1";
/// Kind, length and checksum.
const HEADER: usize = 9;
const CHUNK: u8 = 1;
const GAP: u8 = 2;
/// No frame is longer.
const LONGEST: usize = 64 << 20;

/// The stream that an item belongs to.
fn stream_of(item: &Item) -> &Arc<str> {
    match item {
        Item::Chunk(chunk) => &chunk.stream,
        Item::Gap(gap) => &gap.stream,
    }
}

/// What an item takes in a file.
pub fn size_of(item: &Item) -> u64 {
    (HEADER + 36 + item.bytes()) as u64
}

fn frame(item: &Item) -> Vec<u8> {
    let mut body = Vec::with_capacity(36 + item.bytes());
    let kind = match item {
        Item::Chunk(chunk) => {
            body.extend(chunk.first.to_le_bytes());
            body.extend(chunk.lines.to_le_bytes());
            body.extend(&chunk.bytes);
            CHUNK
        }
        Item::Gap(gap) => {
            for number in [gap.first, gap.lines, gap.from, gap.to] {
                body.extend(number.to_le_bytes());
            }
            body.push(number_of(gap.cause));
            GAP
        }
    };
    sealed(kind, &body)
}

fn sealed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut head = vec![kind];
    head.extend((body.len() as u32).to_le_bytes());
    let mut bytes = head.clone();
    bytes.extend(checksum(&head, body).to_le_bytes());
    bytes.extend(body);
    bytes
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
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
    size: u64,
}

impl Writer {
    /// A new file for the stream of `item`.
    pub fn create(path: &Path, item: &Item) -> io::Result<Self> {
        let stream = Arc::clone(stream_of(item));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let head = sealed(0, stream.as_bytes());
        let mut writer = Writer { file, stream, size: 0 };
        writer.write(&[MAGIC, &head[..]].concat())?;
        Ok(writer)
    }

    /// Whether an item belongs into this file, which is `full` at so many bytes.
    pub fn takes(&self, item: &Item, full: u64) -> bool {
        self.size < full && *stream_of(item) == self.stream
    }

    /// Bytes of whole frames.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends an item, wholly or not at all.
    pub fn append(&mut self, item: &Item) -> io::Result<()> {
        self.write(&frame(item))
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
    /// Something that is no whole frame.
    Torn,
}

/// A file that is delivered.
#[derive(Debug)]
pub struct Reader {
    file: File,
    number: u64,
    stream: Arc<str>,
    offset: u64,
    /// Length of the frame that was looked at.
    looked: u64,
}

impl Reader {
    /// Opens the file with `number`, at a frame's beginning or, with 0, at the first.
    /// None: not even its beginning is whole.
    pub fn open(path: &Path, number: u64, offset: u64) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let mut magic = [0; MAGIC.len()];
        let is_ours = read_whole(&file, &mut magic, 0)? && magic == *MAGIC;
        let Some((0, name)) = read_frame(&file, magic.len() as u64)?.filter(|_| is_ours) else { return Ok(None) };
        let first = (magic.len() + HEADER + name.len()) as u64;
        let stream = String::from_utf8(name).ok();
        Ok(stream.map(|name| Reader { file, number, stream: name.into(), offset: offset.max(first), looked: 0 }))
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
        let Some((kind, body)) = read_frame(&self.file, self.offset)? else { return Ok(Read::Torn) };
        self.looked = (HEADER + body.len()) as u64;
        Ok(item_of(kind, body, &self.stream).map_or(Read::Torn, Read::Item))
    }

    /// The item that was looked at is delivered.
    pub fn advance(&mut self) {
        self.offset += std::mem::take(&mut self.looked);
    }
}

/// False where the file ends before.
fn read_whole(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// The frame at `offset`; None where it is not whole.
fn read_frame(file: &File, offset: u64) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut header = [0; HEADER];
    if !read_whole(file, &mut header, offset)? {
        return Ok(None);
    }
    let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > LONGEST {
        return Ok(None);
    }
    let mut body = vec![0; length];
    let whole = read_whole(file, &mut body, offset + HEADER as u64)?;
    let good = whole && checksum(&[kind, l0, l1, l2, l3], &body) == u32::from_le_bytes([c0, c1, c2, c3]);
    Ok(good.then_some((kind, body)))
}

fn item_of(kind: u8, mut body: Vec<u8>, stream: &Arc<str>) -> Option<Item> {
    let stream = Arc::clone(stream);
    let number = |at: usize| Some(u64::from_le_bytes(*body.get(at..)?.first_chunk()?));
    match kind {
        CHUNK => {
            let (first, lines) = (number(0)?, u32::from_le_bytes(*body.get(8..)?.first_chunk()?));
            body.drain(..12);
            Some(Item::Chunk(Arc::new(Chunk { stream, first, lines, bytes: body })))
        }
        GAP => {
            let cause = cause_of(*body.get(32)?);
            Some(Item::Gap(Gap {
                stream,
                cause,
                first: number(0)?,
                lines: number(8)?,
                from: number(16)?,
                to: number(24)?,
            }))
        }
        _ => None,
    }
}

/// Where delivery stands: the number of a file, and an offset. (0, 0) where that is not known.
pub fn read_note(note: &File) -> (u64, u64) {
    let mut bytes = [0; 20];
    let read = note.read_exact_at(&mut bytes, 0);
    let (position, sum) = bytes.split_at(16);
    let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if read.is_err() || checksum(position, &[]).to_le_bytes() != sum {
        return (0, 0);
    }
    (number(position), position.get(8..).map_or(0, number))
}

/// Notes where delivery stands.
pub fn write_note(note: &File, (file, offset): (u64, u64)) -> io::Result<()> {
    let position = [file.to_le_bytes(), offset.to_le_bytes()].concat();
    let sum = checksum(&position, &[]).to_le_bytes();
    note.write_all_at(&[&position[..], &sum[..]].concat(), 0)
}

/// A file's name for any text, another one for each.
pub fn file_name(text: &str) -> String {
    let mut name = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            b'.' if !name.is_empty() => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.len() > 200 {
        name.truncate(200);
        name.push_str(&format!("%{:08x}", checksum(text.as_bytes(), &[])));
    }
    name
}
