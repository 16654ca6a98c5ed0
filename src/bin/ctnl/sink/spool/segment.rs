//! The segments of a spool.
//!
//! A segment begins with a header: the number of its first line, the number of its stream's first
//! line in the spool, and the name of the stream. Frames follow. A damaged frame is detected by its
//! checksum, and the next intact one is searched behind it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::frame::{
    FRAME_HEADER, KIND_CHUNK, KIND_GAP, KIND_HEADER, KIND_RECEIPT, encode_frame, read_frame, read_whole, split_u64,
};
use super::item::{decode_item, decode_receipt, encode_item, encode_receipt};
use crate::sink::deliver::Receipt;
use crate::sink::queue::Item;

const MAGIC: &[u8; 8] = b"ctnlspl3";

/// A segment that is being written.
#[derive(Debug)]
pub struct SegmentWriter {
    file: File,
    stream: Arc<str>,
    first: u64,
    origin: u64,
    end: u64,
    size: u64,
}

impl SegmentWriter {
    /// Creates a segment for the stream of `item`, which is to be the first in it. `origin` is the number of
    /// the stream's first line in the spool.
    pub fn create(path: &Path, item: &Item, origin: u64) -> io::Result<Self> {
        let (stream, first) = (Arc::clone(item.stream()), item.first());
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let header = [&first.to_le_bytes()[..], &origin.to_le_bytes(), stream.as_bytes()].concat();
        let header = encode_frame(KIND_HEADER, &header);
        let mut writer = SegmentWriter { file, stream, first, origin, end: first, size: 0 };
        writer.write(&[MAGIC, &header[..]].concat())?;
        Ok(writer)
    }

    /// Whether an item belongs in this segment, which is full at `max` bytes.
    pub fn accepts(&self, item: &Item, max: u64) -> bool {
        self.size < max && *item.stream() == self.stream
    }

    /// Bytes of whole frames.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The stream, and the numbers of its first line in this segment and in the spool.
    pub fn first_line(&self) -> (&Arc<str>, u64, u64) {
        (&self.stream, self.first, self.origin)
    }

    /// The stream, and the number of the line that follows the last one.
    pub fn end_line(&self) -> (&Arc<str>, u64) {
        (&self.stream, self.end)
    }

    /// Appends an item, entirely or not at all.
    pub fn append(&mut self, item: &Item) -> io::Result<()> {
        self.write(&encode_item(item))?;
        self.end = self.end.max(item.end());
        Ok(())
    }

    /// Appends the receipt of the last item.
    pub fn append_receipt(&mut self, receipt: &Receipt) -> io::Result<()> {
        self.write(&encode_receipt(receipt))
    }

    /// After an error the next frame overwrites what was written of this one.
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

/// What comes next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Peeked {
    /// An item.
    Item(Item),
    /// Nothing.
    End,
    /// Something that is no intact frame. It is skipped.
    Damaged,
}

/// The header of a segment.
#[derive(Debug)]
pub struct Header {
    /// The stream.
    pub stream: Arc<str>,
    /// The number of its first line in this segment.
    pub first: u64,
    /// The number of its first line in the spool: that of an earlier segment, unless this is the first.
    pub origin: u64,
    length: u64,
}

/// A segment that is being delivered.
#[derive(Debug)]
pub struct SegmentReader {
    file: File,
    number: u64,
    header: Option<Header>,
    offset: u64,
    /// Of the frame that was peeked: its length, its stream, and the number of the line behind it.
    peeked: Option<(u64, Arc<str>, u64)>,
}

impl SegmentReader {
    /// Opens the segment with `number`. `offset` is the start of a frame, or 0 for the first one.
    /// Returns None if the segment does not exist.
    pub fn open(path: &Path, number: u64, offset: u64) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let header = read_header(&file)?;
        let first_frame = header.as_ref().map_or(0, |header| header.length);
        Ok(Some(SegmentReader { file, number, header, offset: offset.max(first_frame), peeked: None }))
    }

    /// The segment's header, if it is readable.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The segment's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Delivered bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Continues at `offset`, which is the start of a frame.
    pub fn seek(&mut self, offset: u64) {
        (self.offset, self.peeked) = (offset, None);
    }

    /// The length of the file now.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The next item, without removing it. `end` is the size of a segment that is still written.
    pub fn peek(&mut self, end: Option<u64>) -> io::Result<Peeked> {
        let end = end.map_or_else(|| self.len(), Ok)?;
        let mut frame;
        loop {
            if end <= self.offset {
                return Ok(Peeked::End);
            }
            frame = read_frame(&self.file, self.offset, end)?;
            match &frame {
                // It is of no use here: the item is delivered again.
                Some((KIND_RECEIPT, body)) => self.offset += (FRAME_HEADER + body.len()) as u64,
                _ => break,
            }
        }
        let read = frame.and_then(|(kind, body)| Some((body.len(), decode_item(kind, &body)?)));
        let Some((length, item)) = read else {
            self.offset = self.find_frame(end)?;
            return Ok(Peeked::Damaged);
        };
        self.peeked = Some(((FRAME_HEADER + length) as u64, Arc::clone(item.stream()), item.end()));
        Ok(Peeked::Item(item))
    }

    /// The start of the next intact frame behind the damaged one; `end` if there is none.
    fn find_frame(&self, end: u64) -> io::Result<u64> {
        let mut block = [0; 4096];
        let mut offset = self.offset + 1;
        while offset < end {
            let read = self.file.read_at(&mut block, offset)?.max(1);
            for (at, kind) in (offset..end).zip(block.iter().take(read)) {
                // Lines contain neither byte, so that hardly anything is read twice.
                if matches!(*kind, KIND_CHUNK | KIND_GAP) && read_frame(&self.file, at, end)?.is_some() {
                    return Ok(at);
                }
            }
            offset += read as u64;
        }
        Ok(end)
    }

    /// Removes the peeked item. Returns its stream, and the number of the line behind it.
    pub fn advance(&mut self) -> Option<(Arc<str>, u64)> {
        let (length, stream, end) = self.peeked.take()?;
        self.offset += length;
        Some((stream, end))
    }
}

/// The receipts of a segment, each with the offset of its item.
pub fn read_receipts(path: &Path) -> io::Result<Vec<(u64, Receipt)>> {
    let mut receipts = Vec::new();
    let Some(mut reader) = SegmentReader::open(path, 0, 0)? else { return Ok(receipts) };
    let end = reader.len()?;
    loop {
        // Also behind a receipt.
        match reader.peek(Some(end))? {
            Peeked::Item(_) => {
                let offset = reader.offset();
                reader.advance();
                let frame = read_frame(&reader.file, reader.offset(), end)?;
                let receipt = frame.and_then(|(kind, body)| decode_receipt(kind, &body));
                receipts.extend(receipt.map(|receipt| (offset, receipt)));
            }
            Peeked::Damaged => {}
            Peeked::End => return Ok(receipts),
        }
    }
}

/// Synchronises a segment to the disk; returns its size.
pub fn synchronise(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    file.sync_data()?;
    Ok(file.metadata()?.len())
}

fn read_header(file: &File) -> io::Result<Option<Header>> {
    let mut magic = [0; MAGIC.len()];
    let is_segment = read_whole(file, &mut magic, 0)? && magic == *MAGIC;
    let header = read_frame(file, magic.len() as u64, file.metadata()?.len())?.filter(|_| is_segment);
    Ok(header.and_then(|(_, header)| {
        let (first, rest) = split_u64(&header)?;
        let (origin, name) = split_u64(rest)?;
        let stream = std::str::from_utf8(name).ok()?.into();
        Some(Header { stream, first, origin, length: (magic.len() + FRAME_HEADER + header.len()) as u64 })
    }))
}
