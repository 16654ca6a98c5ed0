//! A copy of each entry, in a file before the delete of the entry is sent, so that `ctnl restore` undoes a purge.
//!
//! The copy is what the entry was judged by. Written means that the kernel has the bytes: they outlive the process. A
//! crash of the kernel takes the table with it, so nothing waits for the disk before the end.

use std::io::{self, Write};

use ctnl::model::Flow;
use ctnl::snapshot::{BinaryWriter, Head};
use ctnl::table::DatagramTime;

use crate::save_file::SaveFile;

/// The file.
#[derive(Debug)]
pub struct UndoFile {
    name: String,
    file: SaveFile,
    writer: BinaryWriter,
    /// Bytes to be written.
    pending: Vec<u8>,
    /// The entries that they and the writer's block have.
    pending_entries: u64,
    /// Bytes that were written: whole blocks.
    length: u64,
    entries: u64,
    failed: Option<io::Error>,
}

/// What became of the file.
#[derive(Debug)]
pub struct Saved {
    pub name: String,
    /// Entries that were written.
    pub entries: u64,
    /// Why it could not be written to its end.
    pub error: Option<String>,
}

impl UndoFile {
    /// A file that is removed again where a write fails before the first entry, or nothing runs. One that ends without
    /// entries stays: it is whole.
    pub fn new(name: &str, file: SaveFile, head: &Head) -> Self {
        let mut pending = Vec::new();
        let writer = BinaryWriter::begin(&mut pending, head);
        let (length, entries, pending_entries, failed) = (0, 0, 0, None);
        UndoFile { name: name.to_owned(), file, writer, pending, pending_entries, length, entries, failed }
    }

    /// Adds an entry, to be written by the next [`UndoFile::write`].
    #[inline]
    pub fn add(&mut self, flow: &Flow, time: &DatagramTime) {
        self.writer.entry(&mut self.pending, flow, time.realtime);
        self.pending_entries += 1;
    }

    /// Writes the entries that were added. False once that has failed (`ENOSPC` and others): then nothing is
    /// written any more, and [`UndoFile::finish`] returns why.
    pub fn write(&mut self) -> bool {
        if self.failed.is_some() || self.pending_entries == 0 {
            return self.failed.is_none();
        }
        self.writer.close_block(&mut self.pending);
        if let Err(error) = self.file.write_all(&self.pending) {
            self.failed = Some(error);
            return false;
        }
        self.length += self.pending.len() as u64;
        self.pending.clear();
        self.entries += std::mem::take(&mut self.pending_entries);
        self.file.keep();
        true
    }

    /// Writes the end and waits for the disk. A file without entries is whole, too. One that could not be written
    /// has whole blocks and no end.
    pub fn finish(mut self) -> Saved {
        let UndoFile { name, entries, .. } = &self;
        let (name, entries) = (name.clone(), *entries);
        if let Some(error) = self.failed {
            let _ = self.file.truncate(self.length);
            let hint = if entries > 0 { INCOMPLETE } else { "" };
            let error = format!("write '{name}': {error}; no more was deleted{hint}");
            return Saved { name, entries, error: Some(error) };
        }
        self.writer.end(&mut self.pending);
        let ended = self.file.write_all(&self.pending).and_then(|()| self.file.finish());
        let error = ended.err().map(|error| format!("write the end of '{name}': {error}{INCOMPLETE}"));
        Saved { name, entries, error }
    }
}

/// How a file without its end is used.
const INCOMPLETE: &str = "\n  hint: ctnl restore --incomplete restores what was saved";
