//! Acknowledged items that are kept for a while (`--spool-keep`): a destination may lose what it has
//! acknowledged, such as a JetStream server that loses power before it synchronises its files.
//!
//! A folder of segments within the sink's folder. Behind the frame of an item is that of its receipt.
//! Segments are removed as a whole, the oldest first; they are begun often enough that nothing is kept
//! much longer than asked for. They are not synchronised to the disk.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ctnl::units::Nanos;

use super::folder::{list_segments, segment_name};
use super::segment::{SegmentWriter, read_receipts, synchronise};
use crate::sink::deliver::Receipt;
use crate::sink::queue::Item;

/// A segment is begun when the last one has covered this part of the time.
const SLICES: u32 = 4;

/// One segment.
#[derive(Debug)]
struct KeptSegment {
    number: u64,
    size: u64,
    /// The monotonic times of the first and the last item; of an earlier run, the time of opening.
    first: Nanos,
    last: Nanos,
}

/// Acknowledged items.
#[derive(Debug)]
pub struct Kept {
    folder: PathBuf,
    /// None: nothing more is kept; what an earlier run kept is used once.
    time: Option<Duration>,
    segments: VecDeque<KeptSegment>,
    writer: Option<SegmentWriter>,
    next_number: u64,
}

impl Kept {
    /// Opens what earlier runs kept in the folder of a sink; `now` is monotonic.
    pub fn open(sink: &Path, time: Option<Duration>, now: Nanos) -> io::Result<Self> {
        let folder = sink.join("kept");
        if time.is_some() {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        }
        let found = match list_segments(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => VecDeque::new(),
            found => found?,
        };
        let segments: VecDeque<_> =
            found.into_iter().map(|(number, size)| KeptSegment { number, size, first: now, last: now }).collect();
        let next_number = segments.back().map_or(1, |segment| segment.number + 1);
        Ok(Kept { folder, time, segments, writer: None, next_number })
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Whether items are to be appended.
    pub fn is_active(&self) -> bool {
        self.time.is_some()
    }

    /// The numbers of the segments, oldest first.
    pub fn numbers(&self) -> Vec<u64> {
        self.segments.iter().map(|segment| segment.number).collect()
    }

    /// The path of a segment.
    pub fn path(&self, number: u64) -> PathBuf {
        self.folder.join(segment_name(number))
    }

    /// Appends an item that the destination has acknowledged. A segment is full at `max` bytes.
    pub fn append(&mut self, item: &Item, receipt: Option<&Receipt>, now: Nanos, max: u64) -> io::Result<()> {
        let slice = self.time.unwrap_or_default() / SLICES;
        let is_over = self.segments.back().is_none_or(|last| now.since(last.first) > slice.into());
        self.writer = self.writer.take().filter(|writer| !is_over && writer.accepts(item, max));
        if self.writer.is_none() {
            // Those before it may be gone: it is the beginning as far as it is known.
            let writer = SegmentWriter::create(&self.path(self.next_number), item, item.first())?;
            self.segments.push_back(KeptSegment { number: self.next_number, size: 0, first: now, last: now });
            self.next_number += 1;
            self.writer = Some(writer);
        }
        let (Some(writer), Some(last)) = (&mut self.writer, self.segments.back_mut()) else { return Ok(()) };
        let written =
            writer.append(item).and_then(|()| receipt.map_or(Ok(()), |receipt| writer.append_receipt(receipt)));
        (last.size, last.last) = (writer.size(), now);
        if written.is_err() {
            self.writer = None;
        }
        written
    }

    /// Removes what was kept long enough.
    pub fn expire(&mut self, now: Nanos) {
        let time = self.time.unwrap_or_default();
        while self.segments.front().is_some_and(|oldest| now.since(oldest.last) > time.into()) {
            self.drop_oldest();
        }
    }

    /// Removes the oldest segment. Returns false if there is none.
    pub fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.segments.pop_front() else { return false };
        let _ = fs::remove_file(self.path(oldest.number));
        if self.segments.is_empty() {
            self.writer = None;
        }
        true
    }

    /// The receipts of a segment, each with the offset of its item.
    pub fn receipts(&self, number: u64) -> io::Result<Vec<(u64, Receipt)>> {
        read_receipts(&self.path(number))
    }

    /// The newest receipt.
    pub fn newest_receipt(&self) -> Option<Receipt> {
        let newest = |number| self.receipts(number).ok()?.pop();
        self.numbers().into_iter().rev().find_map(newest).map(|(_, receipt)| receipt)
    }

    /// Ends the newest segment: nothing is appended to it any more.
    pub fn end_segment(&mut self) {
        self.writer = None;
    }

    /// Makes a segment also the file `to`, on the disk. It is still kept.
    pub fn link(&self, number: u64, to: &Path) -> io::Result<u64> {
        let _ = fs::remove_file(to);
        match fs::hard_link(self.path(number), to) {
            // A file system without hard links.
            Err(_) => self.copy(number, to),
            Ok(()) => synchronise(to),
        }
    }

    /// Copies a segment to the file `to`, on the disk.
    pub fn copy(&self, number: u64, to: &Path) -> io::Result<u64> {
        fs::copy(self.path(number), to).inspect_err(|_| drop(fs::remove_file(to)))?;
        synchronise(to)
    }

    /// Truncates the newest segment at `offset`; removes it if that is 0.
    pub fn cut_newest(&mut self, offset: u64) -> io::Result<()> {
        let Some(newest) = self.segments.back_mut().filter(|_| offset > 0) else {
            let newest = self.segments.pop_back();
            return newest.map_or(Ok(()), |newest| fs::remove_file(self.path(newest.number)));
        };
        newest.size = offset;
        let path = self.folder.join(segment_name(newest.number));
        OpenOptions::new().write(true).open(path)?.set_len(offset)
    }
}
