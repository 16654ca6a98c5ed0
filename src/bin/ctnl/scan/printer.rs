//! Print entries: as they come, or sorted at the end.

use std::io::{self, IsTerminal, Stdout};
use std::ops::ControlFlow;

use anyhow::Result;
use ctnl::field::Subject;
use ctnl::output::{ChunkWriter, Writer};

use super::selection::Selection;
use super::sorted::{Order, Sorted};
use crate::term::stdout::{for_many_lines, is_device, written};

/// Prints entries, at once or sorted at the end.
pub struct Printer {
    writer: Writer,
    chunks: ChunkWriter<Stdout>,
    failed: Option<io::Error>,
    limit: u64,
    printed: u64,
    sorted: Option<Sorted>,
}

impl Printer {
    /// A printer of at most `limit` entries.
    pub fn new(writer: Writer, limit: Option<u64>, order: Option<Order>) -> Self {
        let mut chunks = stdout();
        writer.begin(chunks.buffer());
        let limit = limit.unwrap_or(u64::MAX);
        Printer {
            writer,
            chunks,
            failed: None,
            limit,
            printed: 0,
            sorted: order.map(|order| Sorted::new(order, limit)),
        }
    }

    /// Adds an entry. Breaks once no more can be printed.
    pub fn add(&mut self, subject: &Subject<'_>) -> ControlFlow<()> {
        if let Some(sorted) = &mut self.sorted {
            sorted.push(subject);
            return ControlFlow::Continue(());
        }
        self.print(subject)
    }

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

    /// Prints the rest. The number of entries printed.
    pub fn finish(mut self, selection: &Selection) -> Result<u64> {
        for kept in self.sorted.take().into_iter().flat_map(Sorted::into_sorted) {
            if self.print(&kept.subject(selection.ages())).is_break() {
                break;
            }
        }
        self.writer.end(self.chunks.buffer());
        end(self.chunks, self.failed).map(|()| self.printed)
    }
}

/// Standard output in chunks.
pub(super) fn stdout() -> ChunkWriter<Stdout> {
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
pub(super) fn end(chunks: ChunkWriter<Stdout>, failed: Option<io::Error>) -> Result<()> {
    let ended = match failed {
        Some(error) => Err(error),
        None => chunks.finish().map(drop),
    };
    written(ended)
}
