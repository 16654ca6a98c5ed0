//! What is in the spool of one sink: totals, streams, damage.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::line_time::line_time;
use crate::sink::{Damage, Finding, Item, sink_of, survey};

/// Damaged parts that are kept one by one; there may be one for each byte.
const MAX_DAMAGE: usize = 100;

/// Lines, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Lines.
    pub lines: u64,
    /// Bytes of lines.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, item: &Item) {
        self.lines += item.lines();
        self.bytes += item.bytes() as u64;
    }
}

/// The part of a stream that waits, without interruption by another stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamContents {
    /// The stream's name.
    pub stream: Arc<str>,
    /// What waits.
    pub waiting: Amount,
    /// Lines that are missing among them: dropped, deleted or unreadable.
    pub missing: u64,
    /// The numbers of the first and the last line.
    pub first: u64,
    /// See `first`.
    pub last: u64,
    /// The times of the first and the last line that has one, ns since 1970.
    pub times: Option<(u64, u64)>,
}

/// What is in the spool of one sink.
#[derive(Debug, Default)]
pub struct Contents {
    /// The folder.
    pub folder: PathBuf,
    /// The sink, and whether that is all of its name; None if the folder was renamed.
    pub sink: Option<(String, bool)>,
    /// Segments on the disk, and their bytes.
    pub segments: (u64, u64),
    /// What waits.
    pub waiting: Amount,
    /// What is delivered and still on the disk.
    pub delivered: Amount,
    /// What the destination has acknowledged and `--spool-keep` keeps.
    pub kept: Amount,
    /// Lines that are missing.
    pub missing: u64,
    /// The streams of the lines that wait, in the order of delivery.
    pub streams: Vec<StreamContents>,
    /// The number of damaged parts.
    pub damaged: u64,
    /// The first of them.
    pub damage: Vec<Damage>,
}

impl Contents {
    /// Reads the spool in `folder`.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let name = folder.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        let sink = name.and_then(|name| sink_of(&name));
        let mut contents = Contents { folder: folder.to_owned(), sink, ..Contents::default() };
        survey(folder, &mut |finding| {
            contents.add(finding);
            true
        })?;
        contents.read_kept()?;
        Ok(contents)
    }

    /// The oldest segments of kept lines are removed all the time: what is missing there is no damage.
    fn read_kept(&mut self) -> io::Result<()> {
        let folder = self.folder.join("kept");
        if !folder.is_dir() {
            return Ok(());
        }
        survey(&folder, &mut |finding| {
            match finding {
                Finding::Waiting(item) => self.kept.add(item),
                Finding::Damage(Damage::Segments { .. } | Damage::Lines { .. }) => {}
                finding @ (Finding::Damage(_) | Finding::Segment { .. }) => self.add(finding),
                Finding::Delivered(_) => {}
            }
            true
        })
    }

    /// Whether a part is not as it was written.
    pub fn is_damaged(&self) -> bool {
        self.damaged > 0
    }

    fn add(&mut self, finding: Finding<'_>) {
        match finding {
            Finding::Segment { bytes } => {
                self.segments.0 += 1;
                self.segments.1 += bytes;
            }
            Finding::Delivered(item) => self.delivered.add(item),
            Finding::Waiting(item) => self.add_waiting(item),
            Finding::Damage(damage) => self.add_damage(damage),
        }
    }

    fn add_waiting(&mut self, item: &Item) {
        self.waiting.add(item);
        let missing = if let Item::Gap(gap) = item { gap.lines } else { 0 };
        self.missing += missing;
        self.begin_stream(item.stream(), item.first());
        if let Some(stream) = self.streams.last_mut() {
            stream.waiting.add(item);
            stream.missing += missing;
            stream.last = stream.last.max(item.end().saturating_sub(1));
            if let Item::Chunk(chunk) = item {
                stream.add_times(&chunk.bytes);
            }
        }
    }

    fn add_damage(&mut self, damage: Damage) {
        self.damaged += 1;
        if let Damage::Lines { stream, first, count } = &damage {
            self.missing += count;
            self.begin_stream(stream, *first);
            if let Some(stream) = self.streams.last_mut() {
                stream.missing += count;
            }
        }
        if self.damage.len() < MAX_DAMAGE {
            self.damage.push(damage);
        }
    }

    /// Makes `stream` the last one; a new one begins with the line `first`.
    fn begin_stream(&mut self, stream: &Arc<str>, first: u64) {
        if self.streams.last().is_none_or(|last| last.stream != *stream) {
            let (waiting, stream) = (Amount::default(), Arc::clone(stream));
            self.streams.push(StreamContents { stream, waiting, missing: 0, first, last: first, times: None });
        }
    }
}

impl StreamContents {
    fn add_times(&mut self, bytes: &[u8]) {
        let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let last = lines.clone().rev().find_map(line_time);
        let first = match self.times {
            Some((first, _)) => Some(first),
            None => lines.find_map(line_time),
        };
        self.times = first.zip(last).or(self.times);
    }
}
