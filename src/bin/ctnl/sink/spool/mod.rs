//! The spool of one sink: items on disk while the sink is down or slow.
//!
//! One folder for each sink (`folder`), with a lock, `segment`s of `frame`s, and a `position` file
//! with how far they were delivered. This module appends and prepends; `read` delivers. A segment
//! is deleted once it is delivered. What an earlier run left comes first, under its own stream's
//! name.
//!
//! A segment is synchronised to the disk when it is full and when the spool is closed, and its name in
//! the folder when it is created: a crash of the program loses nothing that was spooled, a crash of
//! the host at most the last segment. Unreadable frames are skipped, and a gap replaces them if the
//! lines around it, or the header of a later segment, show how many are missing: the numbers of a
//! stream's lines are consecutive.
//!
//! What was delivered can be `kept` for a while, within the same limit, and moved back to the beginning of
//! the spool (`keep`).

pub mod folder;
mod frame;
mod item;
mod keep;
mod kept;
mod position;
mod read;
mod segment;
pub mod survey;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::fcntl::Flock;

use self::kept::Kept;
use self::position::{LineId, Position, read_position, write_position};
use self::segment::{SegmentReader, SegmentWriter};
use super::queue::{Gap, Item};

/// The size at which a segment is full.
const SEGMENT_MAX: u64 = 4 << 20;
/// The number of the first segment. It leaves numbers for segments to be inserted before it.
const FIRST_SEGMENT: u64 = 1 << 32;
/// Bytes that gaps may take beyond the limit: they are small, and must not get lost.
const GAP_ALLOWANCE: u64 = 16 << 10;

/// The items on disk, in order.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    lock: Option<Flock<File>>,
    position: File,
    limit: u64,
    /// Number and size of each segment, oldest first.
    segments: VecDeque<(u64, u64)>,
    /// Writes to the last segment.
    writer: Option<SegmentWriter>,
    /// Reads the first segment.
    reader: Option<SegmentReader>,
    /// The stream of the last segment, and the number of its first line in the spool.
    origin: Option<LineId>,
    /// The line that is delivered next, unless lines are missing.
    expected: Option<LineId>,
    /// Missing lines before the reader's item.
    gap: Option<Gap>,
    /// The gap is at the end of the spool: only this process has a record of it.
    gap_is_last: bool,
    /// Segments that are delivered up to an offset, but are not the first any more: items were inserted before
    /// them. They are delivered from their beginning, unless the inserted items are all that were delivered
    /// before.
    partly_delivered: BTreeMap<u64, u64>,
    /// Whether that is so: kept items were restored.
    has_restored: bool,
    /// Delivered items.
    kept: Option<Kept>,
    damaged: u64,
    unreadable_lines: u64,
    closed: bool,
}

/// Why a spool accepts nothing.
#[derive(Debug)]
pub enum SpoolError {
    /// The limit is reached.
    Full,
    /// The disk.
    Disk(io::Error),
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpoolError::Full => f.write_str("the spool is full (--spool-max)"),
            SpoolError::Disk(error) => write!(f, "write the spool: {error}"),
        }
    }
}

impl Spool {
    /// Opens the spool of the sink called `name` below `parent`, with what an earlier run left.
    pub fn open(parent: &Path, name: &str, limit: u64) -> Result<Self> {
        let folder = parent.join(folder::file_name(name));
        let shown = folder.display().to_string();
        let describe = || format!("open the spool {shown}");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(describe)?;
        let lock = Some(folder::lock(&folder)?);
        let position = folder::open_read_write(&folder.join("position")).with_context(describe)?;
        let segments = folder::list_segments(&folder).with_context(describe)?;
        let mut spool = Spool {
            folder,
            lock,
            position,
            limit,
            segments,
            writer: None,
            reader: None,
            origin: None,
            expected: None,
            gap: None,
            gap_is_last: false,
            partly_delivered: BTreeMap::new(),
            has_restored: false,
            kept: None,
            damaged: 0,
            unreadable_lines: 0,
            closed: false,
        };
        spool.resume().with_context(describe)?;
        [&*spool.folder, parent].into_iter().try_for_each(folder::sync).with_context(describe)?;
        Ok(spool)
    }

    /// Continues where the position file says that delivery stopped.
    fn resume(&mut self) -> io::Result<()> {
        let position = read_position(&self.position);
        // A crash between the two steps of removing a segment leaves a delivered one.
        let mut segments = std::mem::take(&mut self.segments);
        segments
            .retain(|(number, _)| *number >= position.segment || fs::remove_file(self.segment_path(*number)).is_err());
        self.segments = segments;
        if let Some((number, _)) = self.segments.front().copied() {
            // Somebody has deleted the segments before it.
            self.damaged += u64::from(position.segment != 0 && position.segment < number);
            let offset = if number == position.segment { position.offset } else { 0 };
            self.expected = position.expected;
            self.open_reader(number, offset)?;
        }
        Ok(())
    }

    /// Bytes that are not delivered yet.
    pub fn bytes(&self) -> u64 {
        let total = self.total();
        total - self.reader.as_ref().map_or(0, SegmentReader::offset).min(total)
    }

    fn total(&self) -> u64 {
        self.segments.iter().map(|(_, size)| size).sum()
    }

    /// How many damaged parts were skipped.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Returns and clears the number of lines that gaps replaced because they could not be read.
    pub fn take_unreadable_lines(&mut self) -> u64 {
        std::mem::take(&mut self.unreadable_lines)
    }

    /// Appends an item.
    pub fn append(&mut self, item: &Item) -> Result<(), SpoolError> {
        let allowance = if matches!(item, Item::Gap(_)) { GAP_ALLOWANCE } else { 0 };
        let size = item::encoded_size(item);
        if self.total() + size > self.limit + allowance {
            return Err(SpoolError::Full);
        }
        self.make_space_for(size);
        self.append_beyond_limit(item).map_err(SpoolError::Disk)
    }

    /// Appends an item, whatever the limit.
    pub fn append_beyond_limit(&mut self, item: &Item) -> io::Result<()> {
        let max = self.segment_max();
        if self.writer.as_ref().is_some_and(|writer| !writer.accepts(item, max)) {
            self.close_writer()?;
        }
        let mut written = self.append_to_last(item);
        while written.as_ref().is_err_and(keep::is_full) && self.drop_oldest_kept() {
            self.update_last_size();
            written = self.append_to_last(item);
        }
        if written.is_err() {
            // A segment without a frame does no harm.
            self.update_last_size();
        }
        written
    }

    /// The size at which a segment is full.
    fn segment_max(&self) -> u64 {
        SEGMENT_MAX.min(self.limit / 8)
    }

    fn append_to_last(&mut self, item: &Item) -> io::Result<()> {
        if self.writer.is_none() {
            let after_last = self.segments.back().map_or(FIRST_SEGMENT, |(number, _)| number + 1);
            let number = after_last.max(read_position(&self.position).segment + 1);
            self.writer = Some(self.create_segment(number, item)?);
            self.segments.push_back((number, 0));
            if self.segments.len() == 1 {
                // No segment before it shows where it has to begin.
                self.expected = Some(LineId { stream: Arc::clone(item.stream()), number: item.first() });
                let _ = self.save_position(number, 0);
            }
        }
        if let Some(writer) = &mut self.writer {
            writer.append(item)?;
        }
        self.update_last_size();
        Ok(())
    }

    /// Creates a segment behind all others. After an error no file is left of it.
    fn create_segment(&mut self, number: u64, item: &Item) -> io::Result<SegmentWriter> {
        let (path, origin) = (self.segment_path(number), self.origin_of(item));
        let created = SegmentWriter::create(&path, item, origin);
        let created = created.and_then(|writer| folder::sync(&self.folder).map(|()| writer));
        created.inspect_err(|_| drop(fs::remove_file(&path)))
    }

    /// The number of the first line that is spooled of the stream of `item`, which begins a segment.
    fn origin_of(&mut self, item: &Item) -> u64 {
        let origin = self.origin.take().filter(|origin| !self.segments.is_empty() && origin.stream == *item.stream());
        let first = LineId { stream: Arc::clone(item.stream()), number: item.first() };
        self.origin.insert(origin.unwrap_or(first)).number
    }

    fn update_last_size(&mut self) {
        if let (Some(writer), Some((_, size))) = (&self.writer, self.segments.back_mut()) {
            *size = writer.size();
        }
    }

    fn close_writer(&mut self) -> io::Result<()> {
        self.writer.take().map_or(Ok(()), SegmentWriter::close)
    }

    /// Inserts an item before all others.
    pub fn prepend(&mut self, item: &Item) -> io::Result<()> {
        self.save_last_gap()?;
        let mut written = self.prepend_once(item);
        // What waits has precedence over what is kept.
        while written.as_ref().is_err_and(keep::is_full) && self.drop_oldest_kept() {
            written = self.prepend_once(item);
        }
        written
    }

    /// After an error nothing has changed.
    fn prepend_once(&mut self, item: &Item) -> io::Result<()> {
        let Some((oldest, _)) = self.segments.front().copied() else {
            return self.append_to_last(item).inspect_err(|_| self.remove_oldest());
        };
        let number = oldest - 1;
        let expected = LineId { stream: Arc::clone(item.stream()), number: item.first() };
        let before = self.expected.replace(expected);
        let written = self.write_before(number, item);
        match &written {
            Ok(size) => {
                self.note_partly_delivered();
                self.segments.push_front((number, *size));
                (self.reader, self.gap) = (None, None);
            }
            Err(_) => {
                self.expected = before;
                // It would take space from the next attempt, or be delivered although it counts as lost.
                let _ = fs::remove_file(self.segment_path(number));
            }
        }
        written.map(drop)
    }

    /// Notes how far the first segment is delivered, before another one is inserted before it.
    fn note_partly_delivered(&mut self) {
        if let Some(reader) = &self.reader {
            self.partly_delivered.insert(reader.number(), reader.offset());
        }
    }

    /// Writes a gap at the end of the spool, of which only this process has a record.
    fn save_last_gap(&mut self) -> io::Result<()> {
        if let Some(gap) = self.gap.clone().filter(|_| self.gap_is_last) {
            // In a segment of its own: the one before it is damaged.
            self.close_writer()?;
            self.append_to_last(&Item::Gap(gap))?;
            self.gap = None;
        }
        Ok(())
    }

    /// Writes a segment of one item, which becomes the oldest.
    fn write_before(&self, number: u64, item: &Item) -> io::Result<u64> {
        let mut writer = SegmentWriter::create(&self.segment_path(number), item, item.first())?;
        writer.append(item)?;
        let size = writer.size();
        writer.close()?;
        folder::sync(&self.folder)?;
        self.save_position(number, 0)?;
        Ok(size)
    }

    fn save_position(&self, segment: u64, offset: u64) -> io::Result<()> {
        write_position(&self.position, &Position { segment, offset, expected: self.expected.clone() })
    }

    /// Synchronises the rest. Nothing is read afterwards.
    pub fn close(&mut self) {
        self.closed = true;
        // There is nobody to handle an error now, and a crash of the program alone loses nothing.
        let _ = self.save_last_gap();
        let _ = self.close_writer();
        let _ = self.position.sync_data();
        // The rest lives as long as a thread that hangs in a system call; the lock must not.
        self.lock = None;
    }

    fn segment_path(&self, number: u64) -> PathBuf {
        self.folder.join(folder::segment_name(number))
    }
}
