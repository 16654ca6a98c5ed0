//! Keeping delivered items, and moving them back into the spool.

use std::io;
use std::time::Duration;

use ctnl::units::Nanos;

use super::kept::Kept;
use super::position::{LineId, read_position};
use super::segment::{Peeked, SegmentReader, synchronise};
use super::{FIRST_SEGMENT, Spool, folder, item};
use crate::sink::deliver::Receipt;
use crate::sink::queue::Item;

impl Spool {
    /// Keeps delivered items for `time`. Without it, nothing more is kept, and what an earlier run kept
    /// is used once. `now` is monotonic.
    pub fn keeping(mut self, time: Option<Duration>, now: Nanos) -> io::Result<Self> {
        let kept = Kept::open(&self.folder, time, now)?;
        self.kept = (kept.is_active() || kept.bytes() > 0).then_some(kept);
        Ok(self)
    }

    /// Whether anything is or was kept, and the newest receipt of it.
    pub fn newest_receipt(&self) -> Option<Option<Receipt>> {
        self.kept.as_ref().map(Kept::newest_receipt)
    }

    /// Keeps an item that the destination has acknowledged, within the limit of the spool, and removes what was
    /// kept long enough; `now` is monotonic.
    pub fn keep(&mut self, delivered: &Item, receipt: Option<&Receipt>, now: Nanos) -> io::Result<()> {
        let max = self.segment_max();
        let size = item::encoded_size(delivered);
        let Some(kept) = self.kept.as_mut().filter(|_| !self.closed) else { return Ok(()) };
        kept.expire(now);
        if !kept.is_active() {
            return Ok(());
        }
        if self.total() + size > self.limit {
            // What waits has precedence.
            return Ok(());
        }
        self.make_space_for(size);
        loop {
            let Some(kept) = &mut self.kept else { return Ok(()) };
            match kept.append(delivered, receipt, now, max) {
                Err(error) if is_full(&error) && kept.drop_oldest() => {}
                appended => return appended,
            }
        }
    }

    /// Removes what was kept long enough; `now` is monotonic.
    pub fn expire_kept(&mut self, now: Nanos) {
        if let Some(kept) = &mut self.kept {
            kept.expire(now);
        }
    }

    /// Removes kept items, the oldest first, until `size` more bytes are within the limit.
    pub(super) fn make_space_for(&mut self, size: u64) {
        let kept_bytes = |spool: &Spool| spool.kept.as_ref().map_or(0, Kept::bytes);
        while self.total() + kept_bytes(self) + size > self.limit && self.drop_oldest_kept() {}
    }

    pub(super) fn drop_oldest_kept(&mut self) -> bool {
        self.kept.as_mut().is_some_and(Kept::drop_oldest)
    }

    /// The numbers of the kept segments, oldest first.
    pub fn kept_segments(&self) -> Vec<u64> {
        self.kept.as_ref().map(Kept::numbers).unwrap_or_default()
    }

    /// The receipts of a kept segment, each with the offset of its item.
    pub fn kept_receipts(&self, number: u64) -> io::Result<Vec<(u64, Receipt)>> {
        self.kept.as_ref().map_or_else(|| Ok(Vec::new()), |kept| kept.receipts(number))
    }

    /// Moves the kept items from that at `offset` of the kept segment `from` on back into the spool, before all
    /// others. Returns their bytes. After a crash at any time they are kept, in the spool, or both.
    pub fn restore(&mut self, from: u64, offset: u64) -> io::Result<u64> {
        self.save_last_gap()?;
        if let Some(kept) = &mut self.kept {
            kept.end_segment();
        }
        let numbers: Vec<u64> = self.kept_segments().into_iter().filter(|number| *number >= from).collect();
        let mut bytes = 0;
        let newest = self.segments.front().map_or_else(
            || FIRST_SEGMENT.max(read_position(&self.position).segment + 1) + numbers.len() as u64,
            |(number, _)| *number - 1,
        );
        // The newest first: what is in the spool at any time is without a hole.
        for (kept, number) in numbers.into_iter().rev().zip((0..=newest).rev()) {
            let offset = if kept == from { offset } else { 0 };
            bytes += self.restore_segment(kept, number, offset)?.saturating_sub(offset);
        }
        Ok(bytes)
    }

    /// Moves the newest kept segment to the beginning of the spool, as `number`.
    fn restore_segment(&mut self, kept: u64, number: u64, offset: u64) -> io::Result<u64> {
        let path = self.segment_path(number);
        let Some(kept_items) = &mut self.kept else { return Ok(0) };
        // The part before it stays kept.
        let size = if offset > 0 { kept_items.copy(kept, &path) } else { kept_items.link(kept, &path) }?;
        folder::sync(&self.folder)?;
        let before = self.expected.take();
        self.expected = first_line(&path, offset)?;
        if let Err(error) = self.save_position(number, offset).and_then(|()| synchronise(&self.folder.join("position")))
        {
            self.expected = before;
            return Err(error);
        }
        self.note_partly_delivered();
        (self.gap, self.gap_is_last) = (None, false);
        self.segments.push_front((number, size));
        self.has_restored = true;
        if let Some(kept) = &mut self.kept {
            kept.cut_newest(offset)?;
        }
        self.open_reader(number, offset)?;
        Ok(size)
    }
}

/// Whether there is no space on the disk.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The line at `offset` of a segment.
fn first_line(path: &std::path::Path, offset: u64) -> io::Result<Option<LineId>> {
    let Some(mut reader) = SegmentReader::open(path, 0, offset)? else { return Ok(None) };
    Ok(match reader.peek(None)? {
        Peeked::Item(item) => Some(LineId::new(item.stream(), item.first())),
        _ => None,
    })
}
