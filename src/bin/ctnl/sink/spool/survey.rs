//! Reads a spool without changing it: no lock, no position, nothing removed. The process that uses the
//! spool may append and deliver meanwhile.
//!
//! Memory: one frame, and 16 bytes for each segment.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::folder::{list_segments, segment_name};
use super::position::{LineId, Position, read_valid_position};
use super::segment::{Peeked, SegmentReader};
use crate::sink::queue::Item;

/// How often the end of the newest segment is read again, and the delay: a process may be writing it.
const ATTEMPTS: u32 = 10;
const DELAY: Duration = Duration::from_millis(30);

/// What a survey finds, in the order of delivery.
#[derive(Debug)]
pub enum Finding<'a> {
    /// A segment, and what it occupies on the disk.
    Segment { bytes: u64 },
    /// An item that is delivered, and still on the disk.
    Delivered(&'a Item),
    /// An item that waits.
    Waiting(&'a Item),
    /// What is not as it was written.
    Damage(Damage),
}

/// What is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// The position file: lines that are delivered will be delivered again.
    Position,
    /// The header of a segment.
    Header { segment: PathBuf },
    /// Bytes of a segment that are no intact frame.
    Bytes { segment: PathBuf, from: u64, to: u64 },
    /// A frame contains another number of lines than it says.
    LineCount { segment: PathBuf, stream: Arc<str>, first: u64 },
    /// Segments that were deleted.
    Segments { first: PathBuf, count: u64 },
    /// Lines whose numbers are missing.
    Lines { stream: Arc<str>, first: u64, count: u64 },
    /// The disk returns an error instead of data.
    Unreadable { segment: PathBuf, error: String },
}

/// Whether `folder` is that of one sink.
pub fn is_spool(folder: &Path) -> bool {
    folder.join("position").exists() || list_segments(folder).is_ok_and(|segments| !segments.is_empty())
}

/// The folders of sinks below `parent`, sorted by name.
pub fn spools_below(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        if path.is_dir() && is_spool(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads the spool in `folder`. `visit` returns false to end it.
pub fn survey(folder: &Path, visit: &mut dyn FnMut(Finding<'_>) -> bool) -> io::Result<()> {
    let (position, is_damaged) = read_position(folder)?;
    let segments = list_segments(folder)?;
    let mut survey = Survey { folder, position, expected: None, previous: None, visit, goes_on: true };
    if is_damaged {
        survey.report(Finding::Damage(Damage::Position));
    }
    survey.expected = survey.position.expected.clone();
    survey.segments(segments)
}

/// The position, and whether its file is damaged. An empty file is that of a spool without lines.
fn read_position(folder: &Path) -> io::Result<(Position, bool)> {
    let file = match File::open(folder.join("position")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Position::default(), false)),
        file => file?,
    };
    // It is overwritten in place: what is read may be half of it.
    for _ in 0..ATTEMPTS {
        if file.metadata()?.len() == 0 {
            return Ok((Position::default(), false));
        }
        if let Some(position) = read_valid_position(&file)? {
            return Ok((position, false));
        }
        thread::sleep(DELAY);
    }
    Ok((Position::default(), true))
}

struct Survey<'a> {
    folder: &'a Path,
    position: Position,
    /// The line that comes next.
    expected: Option<LineId>,
    /// The number of the segment before.
    previous: Option<u64>,
    visit: &'a mut dyn FnMut(Finding<'_>) -> bool,
    goes_on: bool,
}

impl Survey<'_> {
    fn report(&mut self, finding: Finding<'_>) {
        self.goes_on = self.goes_on && (self.visit)(finding);
    }

    fn damage(&mut self, damage: Damage) {
        self.report(Finding::Damage(damage));
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(segment_name(number))
    }

    fn segments(&mut self, mut segments: VecDeque<(u64, u64)>) -> io::Result<()> {
        while let Some((number, size)) = segments.pop_front().filter(|_| self.goes_on) {
            let is_newest = segments.is_empty();
            if number < self.position.segment {
                // Delivered; only a crash leaves it.
                if let Ok(Some(mut reader)) = SegmentReader::open(&self.path(number), number, 0) {
                    self.report(Finding::Segment { bytes: size });
                    self.delivered(&mut reader, size);
                }
                continue;
            }
            if let Some(next) = self.next_number().filter(|next| *next < number)
                && let Ok(metadata) = self.path(next).metadata()
            {
                // Created while the folder was listed, which may then show a later one alone.
                segments.push_front((number, size));
                segments.push_front((next, metadata.len()));
                continue;
            }
            self.missing_segments(number)?;
            self.previous = Some(number);
            match self.open(number, is_newest) {
                Ok(Some(reader)) => {
                    self.report(Finding::Segment { bytes: size });
                    let read = self.segment(reader, size, is_newest);
                    read.unwrap_or_else(|error| self.unreadable(number, &error));
                }
                Ok(None) => self.gone(number)?,
                Err(error) => self.unreadable(number, &error),
            }
        }
        Ok(())
    }

    fn unreadable(&mut self, number: u64, error: &io::Error) {
        self.damage(Damage::Unreadable { segment: self.path(number), error: error.to_string() });
    }

    /// The number of the segment that comes next, if known.
    fn next_number(&self) -> Option<u64> {
        let next = self.previous.map_or(self.position.segment, |previous| previous + 1);
        (next != 0).then_some(next)
    }

    /// Reports segments between the one before, or the position, and `number`.
    fn missing_segments(&mut self, number: u64) -> io::Result<()> {
        let folder = self.folder;
        let is_missing = |next: u64| next != 0 && next < number && !folder.join(segment_name(next)).exists();
        // They may have been delivered since the position was read, and the position of a spool that begins
        // again is written after its first segment.
        let mut attempts = ATTEMPTS;
        while self.previous.is_none() && is_missing(self.position.segment) && attempts > 0 {
            (self.position, _) = read_position(self.folder)?;
            self.expected = self.position.expected.clone();
            attempts -= 1;
            thread::sleep(DELAY);
        }
        let next = self.next_number().unwrap_or(number);
        if is_missing(next) {
            self.damage(Damage::Segments { first: self.path(next), count: number - next });
        }
        Ok(())
    }

    /// Opens a segment. Of the newest the header may not be written yet.
    fn open(&self, number: u64, is_newest: bool) -> io::Result<Option<SegmentReader>> {
        let mut attempts = if is_newest { ATTEMPTS } else { 1 };
        loop {
            let reader = SegmentReader::open(&self.path(number), number, 0)?;
            attempts -= 1;
            if attempts == 0 || reader.as_ref().is_none_or(|reader| reader.header().is_some()) {
                return Ok(reader);
            }
            thread::sleep(DELAY);
        }
    }

    /// A segment is gone since the folder was listed: delivered, or deleted by somebody.
    fn gone(&mut self, number: u64) -> io::Result<()> {
        let (position, _) = read_position(self.folder)?;
        if position.segment > number {
            (self.expected, self.position, self.previous) = (position.expected.clone(), position, None);
        } else {
            self.damage(Damage::Segments { first: self.path(number), count: 1 });
        }
        Ok(())
    }

    /// Reads the delivered items of a segment, up to the offset `end`.
    fn delivered(&mut self, reader: &mut SegmentReader, end: u64) {
        while let (Ok(Peeked::Item(item)), true) = (reader.peek(Some(end)), self.goes_on) {
            self.report(Finding::Delivered(&item));
            reader.advance();
        }
    }

    fn segment(&mut self, mut reader: SegmentReader, size: u64, is_newest: bool) -> io::Result<()> {
        let number = reader.number();
        if self.position.segment == number && self.position.offset > reader.offset() {
            self.delivered(&mut reader, self.position.offset.min(size));
            reader = match SegmentReader::open(&self.path(number), number, self.position.offset)? {
                Some(reader) => reader,
                None => return self.gone(number),
            };
        }
        let header = reader.header().map(|header| (&header.stream, header.first, header.origin));
        if header.is_none() {
            self.damage(Damage::Header { segment: self.path(number) });
        }
        self.expected = LineId::at_start_of_segment(self.expected.take(), header);
        self.waiting(&mut reader, size, is_newest)
    }

    fn waiting(&mut self, reader: &mut SegmentReader, size: u64, is_newest: bool) -> io::Result<()> {
        // Not up to the end of a file that grows: that might never be reached.
        let (mut end, mut attempts) = (size, if is_newest { ATTEMPTS } else { 0 });
        while self.goes_on {
            let from = reader.offset();
            match reader.peek(Some(end))? {
                Peeked::End => return Ok(()),
                Peeked::Item(item) => {
                    self.item(reader.number(), &item);
                    reader.advance();
                }
                Peeked::Damaged if reader.offset() >= end && attempts > 0 => {
                    // A frame that is being written, or a failed one that is removed again.
                    attempts -= 1;
                    thread::sleep(DELAY);
                    reader.seek(from);
                    end = reader.len()?;
                }
                // A damaged header was reported.
                Peeked::Damaged if from == 0 => {}
                Peeked::Damaged => {
                    let (segment, to) = (self.path(reader.number()), reader.offset());
                    self.damage(Damage::Bytes { segment, from, to });
                }
            }
        }
        Ok(())
    }

    fn item(&mut self, number: u64, item: &Item) {
        if let Some(expected) = &self.expected {
            let count = expected.missing_before(item.stream(), item.first());
            if count > 0 {
                let (stream, first) = (Arc::clone(item.stream()), expected.number);
                self.damage(Damage::Lines { stream, first, count });
            }
        }
        if let Item::Chunk(chunk) = item
            && chunk.bytes.iter().filter(|byte| **byte == b'\n').count() as u64 != u64::from(chunk.lines)
        {
            let (segment, stream) = (self.path(number), Arc::clone(&chunk.stream));
            self.damage(Damage::LineCount { segment, stream, first: chunk.first });
        }
        // Repeated lines do not lower it.
        let end = self.expected.as_ref().filter(|expected| expected.stream == *item.stream());
        let end = end.map_or(item.end(), |expected| expected.number.max(item.end()));
        self.expected = Some(LineId::new(item.stream(), end));
        self.report(Finding::Waiting(item));
    }
}
