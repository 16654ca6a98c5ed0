//! Print entries: as they come, or sorted at the end.

use std::io::{self, IsTerminal, Stdout};
use std::ops::ControlFlow;

use anyhow::{Result, anyhow};
use ctnl::field::Subject;
use ctnl::output::{ChunkWriter, Writer};

use super::kept::OutOfMemory;
use super::selection::Selection;
use super::sorted::{Order, Sorted, Unsorted};
use crate::term::stdout::{Delivered, for_many_lines, is_device, written};

/// Prints entries, at once or sorted at the end.
pub struct Printer {
    output: Output,
    sorted: Option<Sorted>,
    out_of_memory: bool,
}

/// What was printed.
#[derive(Debug, Default)]
pub struct Printed {
    /// Entries.
    pub entries: u64,
    /// Whether the reader closed the pipe: then the number of entries is that of nothing in particular.
    pub is_reader_gone: bool,
    /// The values by which entries could not be sorted.
    pub unsorted: Unsorted,
}

struct Output {
    writer: Writer,
    chunks: ChunkWriter<Stdout>,
    failed: Option<io::Error>,
    limit: u64,
    printed: u64,
}

impl Printer {
    /// A printer of at most `limit` entries.
    pub fn new(writer: Writer, limit: Option<u64>, order: Option<Order>) -> Self {
        let mut chunks = stdout_in_chunks();
        writer.begin(chunks.buffer());
        let limit = limit.unwrap_or(u64::MAX);
        Printer {
            output: Output { writer, chunks, failed: None, limit, printed: 0 },
            sorted: order.map(|order| Sorted::new(order, limit)),
            out_of_memory: false,
        }
    }

    /// Adds an entry. Breaks once no more can be printed.
    pub fn add(&mut self, subject: &Subject<'_>) -> ControlFlow<()> {
        let Some(sorted) = &mut self.sorted else { return self.output.print(subject) };
        match sorted.push(subject) {
            Ok(()) => ControlFlow::Continue(()),
            Err(OutOfMemory) => {
                self.out_of_memory = true;
                ControlFlow::Break(())
            }
        }
    }

    /// Prints the rest.
    ///
    /// # Errors
    /// Standard output failed, or the entries to sort did not fit into memory: then nothing is printed.
    pub fn finish(mut self, selection: &Selection) -> Result<Printed> {
        let mut unsorted = Unsorted::default();
        if let Some(mut sorted) = self.sorted.take() {
            if self.out_of_memory || sorted.prune().is_err() {
                return Err(too_many(sorted.unsorted().entries));
            }
            for kept in sorted.entries() {
                if self.output.print(&kept.subject(selection.ages())).is_break() {
                    break;
                }
            }
            unsorted = sorted.unsorted().clone();
        }
        let entries = self.output.printed;
        let delivered = self.output.end()?;
        Ok(Printed { entries, is_reader_gone: delivered == Delivered::ReaderGone, unsorted })
    }
}

#[cold]
fn too_many(entries: u64) -> anyhow::Error {
    anyhow!(
        "--sort: out of memory after {entries} entries; nothing was printed\n  hint: --limit N keeps few of them in memory, \
         a filter leaves others out, and -o csv | sort uses files"
    )
}

impl Output {
    #[inline]
    fn print(&mut self, subject: &Subject<'_>) -> ControlFlow<()> {
        if self.printed < self.limit {
            self.writer.flow(self.chunks.buffer(), subject);
            self.printed += 1;
            self.failed = self.chunks.commit().err();
        }
        if self.failed.is_some() || self.printed >= self.limit {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn end(mut self) -> Result<Delivered> {
        self.writer.end(self.chunks.buffer());
        finish_chunks(self.chunks, self.failed)
    }
}

/// Standard output in chunks.
pub fn stdout_in_chunks() -> ChunkWriter<Stdout> {
    let stdout = for_many_lines();
    if stdout.is_terminal() {
        ChunkWriter::terminal(stdout)
    } else if is_device(&stdout) {
        ChunkWriter::direct(stdout)
    } else {
        ChunkWriter::new(stdout)
    }
}

/// Writes the rest, unless writing has failed before.
pub fn finish_chunks(chunks: ChunkWriter<Stdout>, failed: Option<io::Error>) -> Result<Delivered> {
    let ended = match failed {
        Some(error) => Err(error),
        None => chunks.finish().map(drop),
    };
    written(ended)
}
