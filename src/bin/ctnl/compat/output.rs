//! `-o`: the lines of entries, on standard output.

use std::io::{self, Stdout};
use std::ops::ControlFlow;

use anyhow::Result;
use ctnl::field::Subject;
use ctnl::host::Host;
use ctnl::output::{CONNTRACK, ChunkWriter, Format, SAVE, TextOptions, Writer, WriterOptions, XML};

use super::Labels;
use super::message;
use crate::conntrack_syntax::{Command, Request};
use crate::host::files;
use crate::scan::{finish_chunks, stdout_in_chunks};

/// The format of a request.
pub fn format(request: &Request) -> &'static Format {
    let output = request.output;
    match (output.save, output.xml) {
        (true, _) => &SAVE,
        (_, true) => &XML,
        _ => &CONNTRACK,
    }
}

/// What is shown beside the entry.
pub fn options(request: &Request, host: &Host) -> Result<WriterOptions> {
    let output = request.output;
    let mut text = TextOptions { extended: output.extended, id: output.id, ..TextOptions::default() };
    text.timestamp = output.timestamp;
    if output.ktimestamp {
        text.ktimestamp = true;
        text.zone = Some(files::time_zone(host));
    }
    if output.labels {
        let names = Labels::of(request, host).names()?;
        if names.is_empty() {
            message::note("WARNING: -o labels: connlabel.conf has no names, so no label is shown");
        }
        text.labels = Some(names);
    }
    Ok(WriterOptions { columns: None, text })
}

/// The lines of entries: a whole document, or only what is inside of it.
#[derive(Debug)]
pub struct Lines {
    writer: Writer,
    chunks: ChunkWriter<Stdout>,
    failed: Option<io::Error>,
    is_document: bool,
    /// The letter of the command in a line of `-o save`, where it is not that of an added entry.
    letter: Option<u8>,
    count: u64,
}

/// Writes the line of `-o save` with the command of this letter.
pub fn save_as(letter: u8, writer: &mut Writer, out: &mut Vec<u8>, subject: &Subject<'_>) {
    let start = out.len();
    writer.flow(out, subject);
    if let Some(written) = out.get_mut(start + 1) {
        *written = letter;
    }
}

impl Lines {
    /// The lines of a list: a document is begun with its first entry, as conntrack(8) does.
    pub fn document(request: &Request, host: &Host) -> Result<Self> {
        Ok(Lines { is_document: true, ..Lines::of(request, host)? })
    }

    /// The lines of what is deleted or updated: conntrack(8) prints them without a beginning and an end.
    pub fn of(request: &Request, host: &Host) -> Result<Self> {
        let writer = format(request).writer(options(request, host)?)?;
        let is_delete = matches!(request.command, Command::Delete(_)) && request.output.save;
        let letter = is_delete.then_some(b'D');
        Ok(Lines { writer, chunks: stdout_in_chunks(), failed: None, is_document: false, letter, count: 0 })
    }

    /// Prints an entry. Breaks once nothing more can be printed.
    #[inline]
    pub fn add(&mut self, subject: &Subject<'_>) -> ControlFlow<()> {
        if self.count == 0 && self.is_document {
            self.writer.begin(self.chunks.buffer());
        }
        self.count += 1;
        match self.letter {
            None => self.writer.flow(self.chunks.buffer(), subject),
            Some(letter) => save_as(letter, &mut self.writer, self.chunks.buffer(), subject),
        }
        self.failed = self.chunks.commit().err();
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Prints the rest. The number of entries.
    ///
    /// # Errors
    /// Standard output failed; a reader that is gone is no error.
    pub fn finish(mut self) -> Result<u64> {
        if self.count > 0 && self.is_document {
            self.writer.end(self.chunks.buffer());
        }
        finish_chunks(self.chunks, self.failed)?;
        Ok(self.count)
    }
}
