//! What waits on disk for a place that is down.
//!
//! One folder for each place, with a lock, files of frames (`segment`), and a note of how
//! far they were delivered. A file is deleted once all of it is delivered. What an
//! earlier run left comes first, under its own stream's name.
//!
//! Nothing is synchronised to the disk before a file is full or the spool is closed: what
//! was spooled survives the program's death, and the host's only up to the last file. What
//! cannot be read back is passed over, and a gap stands for it where the lines around it tell
//! how much it was: numbers have no holes.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use ctnl::output::GapCause;
use nix::fcntl::Flock;

use super::folder;
use super::position::{self, Due, Position};
use super::queue::{Gap, Item};
use super::segment::{self, Read, Reader, Writer};

/// The size at which a file is full.
const FULL: u64 = 4 << 20;
/// The number of the first file: what must go before it finds a number too.
const FIRST: u64 = 1 << 32;
/// Room beyond the limit for gaps: they are small, and must not get lost.
const FOR_GAPS: u64 = 16 << 10;

/// The chunks that wait on disk, in order.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    lock: Option<Flock<File>>,
    note: File,
    limit: u64,
    /// Number and size of each file, oldest first.
    files: VecDeque<(u64, u64)>,
    writer: Option<Writer>,
    reader: Option<Reader>,
    due: Option<Due>,
    /// Lines that are missing before what the reader stands at.
    hole: Option<Gap>,
    /// They are the last ones: nothing on the disk tells so.
    hole_is_last: bool,
    damaged: u64,
    lost: u64,
    closed: bool,
}

/// Why a spool takes no more.
#[derive(Debug)]
pub enum Refused {
    /// The limit.
    Full,
    /// The disk.
    Disk(io::Error),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Full => f.write_str("the spool is full (--spool-max)"),
            Refused::Disk(error) => write!(f, "write the spool: {error}"),
        }
    }
}

impl Spool {
    /// The spool of the place called `name` under `parent`, with what an earlier run left.
    pub fn open(parent: &Path, name: &str, limit: u64) -> Result<Self> {
        let folder = parent.join(folder::file_name(name));
        let shown = folder.display().to_string();
        let describe = || format!("open the spool {shown}");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(describe)?;
        let lock = folder::lock(&folder)?;
        let note = folder::read_write(&folder.join("position")).with_context(describe)?;
        let mut files = folder::segments(&folder).with_context(describe)?;
        let mut spool = Spool {
            note,
            limit,
            writer: None,
            reader: None,
            due: None,
            hole: None,
            hole_is_last: false,
            damaged: 0,
            lost: 0,
            closed: false,
            folder,
            lock: Some(lock),
            files: VecDeque::new(),
        };
        let at = position::read_note(&spool.note);
        // Deleting a file and noting that are two steps.
        files.retain(|(number, _)| *number >= at.file || fs::remove_file(spool.path(*number)).is_err());
        spool.files = files;
        if let Some((number, _)) = spool.files.front().copied() {
            spool.due = at.due;
            let offset = if number == at.file { at.offset } else { 0 };
            spool.enter(number, offset).with_context(describe)?;
        }
        Ok(spool)
    }

    /// Bytes of the files that are not delivered yet.
    pub fn bytes(&self) -> u64 {
        let total: u64 = self.files.iter().map(|(_, size)| size).sum();
        total - self.reader.as_ref().map_or(0, Reader::offset).min(total)
    }

    /// How often something was passed over that is no whole frame, as a crash leaves one.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Lines that gaps stand for because they could not be read back, since it was asked last.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Puts an item behind all others.
    pub fn append(&mut self, item: &Item) -> Result<(), Refused> {
        let size = segment::size_of(item);
        let total: u64 = self.files.iter().map(|(_, size)| size).sum();
        let allowance = if matches!(item, Item::Gap(_)) { FOR_GAPS } else { 0 };
        if total + size > self.limit + allowance {
            return Err(Refused::Full);
        }
        self.append_beyond(item).map_err(Refused::Disk)
    }

    /// Puts an item behind all others, whatever the limit.
    pub fn append_beyond(&mut self, item: &Item) -> io::Result<()> {
        let full = FULL.min(self.limit / 8);
        if self.writer.as_ref().is_some_and(|writer| !writer.takes(item, full)) {
            self.close_writer()?;
        }
        let written = self.append_to_last(item);
        if written.is_err() {
            // A file that has no frame yet is in nobody's way.
            self.note_sizes();
        }
        written
    }

    fn append_to_last(&mut self, item: &Item) -> io::Result<()> {
        if self.writer.is_none() {
            let number =
                self.files.back().map_or(FIRST, |(number, _)| number + 1).max(position::read_note(&self.note).file + 1);
            self.writer = Some(Writer::create(&self.path(number), item)?);
            self.files.push_back((number, 0));
            if self.files.len() == 1 {
                // Nothing before it tells where it begins.
                self.due = Some(Due { stream: Arc::clone(item.stream()), number: item.first() });
                let _ = self.note_position(number, 0);
            }
        }
        if let Some(writer) = &mut self.writer {
            writer.append(item)?;
        }
        self.note_sizes();
        Ok(())
    }

    fn note_sizes(&mut self) {
        if let (Some(writer), Some((_, size))) = (&self.writer, self.files.back_mut()) {
            *size = writer.size();
        }
    }

    fn close_writer(&mut self) -> io::Result<()> {
        self.writer.take().map_or(Ok(()), Writer::close)
    }

    /// Puts an item before all others.
    pub fn put_first(&mut self, item: &Item) -> io::Result<()> {
        self.keep_last_hole()?;
        let Some((oldest, _)) = self.files.front().copied() else {
            return self.append_to_last(item).inspect_err(|_| self.drop_oldest());
        };
        let number = oldest - 1;
        let due = Due { stream: Arc::clone(item.stream()), number: item.first() };
        let before = self.due.replace(due);
        let written = self.write_before(number, item);
        match &written {
            Ok(size) => {
                self.files.push_front((number, *size));
                (self.reader, self.hole) = (None, None);
            }
            Err(_) => {
                self.due = before;
                // It would take room from what is tried next, or be delivered though it counts as lost.
                let _ = fs::remove_file(self.path(number));
            }
        }
        written.map(drop)
    }

    /// Writes down what only this run knows of.
    fn keep_last_hole(&mut self) -> io::Result<()> {
        if let Some(hole) = self.hole.clone().filter(|_| self.hole_is_last) {
            // In a file of its own: the one before cannot be relied on.
            self.close_writer()?;
            self.append_to_last(&Item::Gap(hole))?;
            self.hole = None;
        }
        Ok(())
    }

    /// Writes a file of one item, which is the oldest from then on.
    fn write_before(&self, number: u64, item: &Item) -> io::Result<u64> {
        let mut writer = Writer::create(&self.path(number), item)?;
        writer.append(item)?;
        let size = writer.size();
        writer.close()?;
        self.note_position(number, 0)?;
        Ok(size)
    }

    /// The oldest item, which stays; the time is now `now`.
    pub fn peek(&mut self, now: u64) -> io::Result<Option<Item>> {
        while let Some((number, _)) = self.files.front().copied().filter(|_| !self.closed) {
            if let Some(hole) = &self.hole {
                return Ok(Some(Item::Gap(hole.clone())));
            }
            if self.reader.is_none() {
                self.enter(number, 0)?;
            }
            let end = if self.files.len() == 1 { self.writer.as_ref().map(Writer::size) } else { None };
            match self.reader.as_mut().map_or(Ok(Read::End), |reader| reader.peek(end))? {
                Read::Item(item) => {
                    self.hole = self.hole_before(item.stream(), item.first(), now);
                    self.hole_is_last = false;
                    if self.hole.is_none() {
                        return Ok(Some(item));
                    }
                }
                Read::Damaged => self.damaged += 1,
                Read::End => self.end_oldest(now),
            }
        }
        Ok(None)
    }

    /// Begins to read a file.
    fn enter(&mut self, number: u64, offset: u64) -> io::Result<()> {
        self.reader = Reader::open(&self.path(number), number, offset)?;
        let begin = self.reader.as_ref().and_then(Reader::begin);
        let newest = self.writer.as_ref().filter(|_| self.files.len() == 1);
        if let Some((stream, number)) = begin.or(newest.map(Writer::begin))
            && self.due.as_ref().is_none_or(|due| due.stream != *stream)
        {
            self.due = Some(Due { stream: Arc::clone(stream), number });
        }
        Ok(())
    }

    /// What is missing where the line with `number` comes next.
    fn hole_before(&self, stream: &Arc<str>, number: u64, now: u64) -> Option<Gap> {
        let due = self.due.as_ref().filter(|due| due.stream == *stream && due.number < number)?;
        let (stream, first) = (Arc::clone(stream), due.number);
        // When the lines came was in them.
        Some(Gap { stream, cause: GapCause::Spool, first, lines: number - first, from: 0, to: now })
    }

    /// The item that [`Spool::peek`] gave is delivered.
    pub fn advance(&mut self) {
        let (stream, number) = match (self.hole.take(), &mut self.reader) {
            (Some(hole), _) => {
                self.lost += hole.lines;
                (hole.stream, hole.first.saturating_add(hole.lines))
            }
            (None, Some(reader)) => {
                let Some(passed) = reader.advance() else { return };
                passed
            }
            (None, None) => return,
        };
        self.raise_due(&stream, number);
        if let Some((number, offset)) = self.reader.as_ref().map(|reader| (reader.number(), reader.offset())) {
            // Where the note cannot be written, lines come again after a restart: no loss.
            let _ = self.note_position(number, offset);
        }
    }

    /// An item that was put first is delivered, without having been read from the disk: whatever
    /// is there by now, and whatever is missing, comes behind it.
    pub fn pass(&mut self, item: &Item, now: u64) {
        self.hole = None;
        self.raise_due(item.stream(), item.next());
        // An error there brings it again, no more.
        if self.peek(now).is_ok_and(|first| first.as_ref() == Some(item)) {
            self.advance();
        }
    }

    fn raise_due(&mut self, stream: &Arc<str>, number: u64) {
        // What comes again is not due again.
        if self.due.as_ref().is_none_or(|due| due.stream != *stream || due.number < number) {
            self.due = Some(Due { stream: Arc::clone(stream), number });
        }
    }

    fn note_position(&self, file: u64, offset: u64) -> io::Result<()> {
        position::write_note(&self.note, &Position { file, offset, due: self.due.clone() })
    }

    /// The oldest file is read to its end. Where it is the newest too, nothing behind it tells
    /// that lines of it are missing.
    fn end_oldest(&mut self, now: u64) {
        let newest = self.writer.as_ref().filter(|_| self.files.len() == 1);
        self.hole = newest.map(Writer::end).and_then(|(stream, next)| self.hole_before(stream, next, now));
        self.hole_is_last = true;
        if self.reader.is_none() {
            // More of it could not be read either.
            self.writer = self.writer.take().filter(|_| self.files.len() > 1);
        }
        if self.hole.is_none() {
            // Gone, or a crash has left it empty.
            self.damaged += u64::from(self.reader.as_ref().is_none_or(|reader| reader.offset() == 0));
            self.drop_oldest();
        }
    }

    /// The oldest file is delivered to its end.
    fn drop_oldest(&mut self) {
        self.reader = None;
        if let Some((number, _)) = self.files.pop_front() {
            if self.files.is_empty() {
                (self.writer, self.due) = (None, None);
            }
            // The note goes first, down to the disk: what it says is due must not be older than
            // the first file. Where that fails, the file stays and comes again after a restart.
            if self.note_position(number + 1, 0).and_then(|()| self.note.sync_data()).is_ok() {
                let _ = fs::remove_file(self.path(number));
            }
        }
    }

    /// Synchronises what is left. Nothing is read afterwards.
    pub fn close(&mut self) {
        self.closed = true;
        // Nobody could do anything about it now, and the program's death alone loses nothing.
        let _ = self.keep_last_hole();
        let _ = self.close_writer();
        let _ = self.note.sync_data();
        // A thread that hangs in a system call keeps the rest of it alive.
        self.lock = None;
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(folder::segment_name(number))
    }
}
