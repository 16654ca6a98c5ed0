//! Delivery out of a spool: the oldest item, and gaps for lines that are missing before it.

use std::fs;
use std::io;
use std::sync::Arc;

use super::Spool;
use super::position::LineId;
use super::segment::{Peeked, SegmentReader, SegmentWriter};
use crate::sink::queue::{DropCause, Gap, Item};

impl Spool {
    /// The oldest item, without removing it; `now` is in ns of `CLOCK_REALTIME`.
    pub fn peek(&mut self, now: u64) -> io::Result<Option<Item>> {
        while let Some((number, _)) = self.segments.front().copied().filter(|_| !self.closed) {
            if let Some(gap) = &self.gap {
                return Ok(Some(Item::Gap(gap.clone())));
            }
            if self.reader.is_none() {
                let delivered = self.partly_delivered.get(&number).filter(|_| self.has_restored);
                self.open_reader(number, delivered.copied().unwrap_or(0))?;
            }
            let end = if self.segments.len() == 1 { self.writer.as_ref().map(SegmentWriter::size) } else { None };
            match self.reader.as_mut().map_or(Ok(Peeked::End), |reader| reader.peek(end))? {
                Peeked::Item(item) => {
                    self.gap = self.missing_before(item.stream(), item.first(), now);
                    self.gap_is_last = false;
                    if self.gap.is_none() {
                        return Ok(Some(item));
                    }
                }
                Peeked::Damaged => self.damaged += 1,
                Peeked::End => self.finish_oldest(now),
            }
        }
        Ok(None)
    }

    /// Begins to read a segment.
    pub(super) fn open_reader(&mut self, number: u64, offset: u64) -> io::Result<()> {
        self.reader = SegmentReader::open(&self.segment_path(number), number, offset)?;
        let header = self.reader.as_ref().and_then(SegmentReader::header);
        let header = header.map(|header| (&header.stream, header.first, header.origin));
        let newest = self.writer.as_ref().filter(|_| self.segments.len() == 1);
        let begins = header.or(newest.map(SegmentWriter::first_line));
        self.expected = LineId::at_start_of_segment(self.expected.take(), begins);
        Ok(())
    }

    /// The gap before the line with `number`, if that is not the expected one.
    fn missing_before(&self, stream: &Arc<str>, number: u64, now: u64) -> Option<Gap> {
        let expected = self.expected.as_ref()?;
        let lines = expected.missing_before(stream, number);
        let gap = Gap {
            stream: Arc::clone(stream),
            cause: DropCause::Spool,
            first: expected.number,
            lines,
            // When the missing lines were queued is unknown.
            from: 0,
            to: now,
        };
        (lines > 0).then_some(gap)
    }

    /// Removes the item that [`Spool::peek`] returned: it is delivered.
    pub fn advance(&mut self) {
        let (stream, number) = match (self.gap.take(), &mut self.reader) {
            (Some(gap), _) => {
                self.unreadable_lines += gap.lines;
                (gap.stream, gap.first.saturating_add(gap.lines))
            }
            (None, Some(reader)) => {
                let Some(end) = reader.advance() else { return };
                end
            }
            (None, None) => return,
        };
        self.raise_expected(&stream, number);
        if let Some((number, offset)) = self.reader.as_ref().map(|reader| (reader.number(), reader.offset())) {
            // If the position cannot be written, lines are repeated after a restart: no loss.
            let _ = self.save_position(number, offset);
        }
    }

    /// Removes a prepended item that was delivered from memory, without having been read from the
    /// disk. If it is unreadable there, the gap that is delivered next does not include it.
    pub fn skip(&mut self, item: &Item, now: u64) {
        self.gap = None;
        self.raise_expected(item.stream(), item.end());
        // After an error the item is delivered again, no more.
        if self.peek(now).is_ok_and(|first| first.as_ref() == Some(item)) {
            self.advance();
        }
    }

    fn raise_expected(&mut self, stream: &Arc<str>, number: u64) {
        // Repeated lines do not lower it.
        if self.expected.as_ref().is_none_or(|expected| expected.stream != *stream || expected.number < number) {
            self.expected = Some(LineId { stream: Arc::clone(stream), number });
        }
    }

    /// The oldest segment is read to its end. If it is the newest too, only the writer's count
    /// shows that lines of it are missing.
    fn finish_oldest(&mut self, now: u64) {
        let newest = self.writer.as_ref().filter(|_| self.segments.len() == 1);
        self.gap = newest.map(SegmentWriter::end_line).and_then(|(stream, end)| self.missing_before(stream, end, now));
        self.gap_is_last = true;
        if self.reader.is_none() {
            // What would be appended to it could not be read either.
            self.writer = self.writer.take().filter(|_| self.segments.len() > 1);
        }
        if self.gap.is_none() {
            // Deleted by somebody, or left empty by a crash.
            self.damaged += u64::from(self.reader.as_ref().is_none_or(|reader| reader.offset() == 0));
            self.remove_oldest();
        }
    }

    /// Removes the oldest segment: it is delivered.
    pub(super) fn remove_oldest(&mut self) {
        self.reader = None;
        if let Some((number, _)) = self.segments.pop_front() {
            self.partly_delivered.remove(&number);
            match self.segments.front() {
                None => (self.writer, self.expected, self.has_restored) = (None, None, false),
                // Somebody has deleted the segments in between.
                Some((next, _)) => self.damaged += u64::from(*next != number + 1),
            }
            // The position is synchronised first: the line it expects must not be older than the
            // first segment. If that fails, the segment stays and is delivered again after a restart.
            if self.save_position(number + 1, 0).and_then(|()| self.position.sync_data()).is_ok() {
                let _ = fs::remove_file(self.segment_path(number));
            }
        }
    }
}
