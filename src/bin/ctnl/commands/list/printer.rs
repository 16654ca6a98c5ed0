//! Prints entries: as they come, sorted at the end, or from two threads.

use std::io::{self, IsTerminal, Stdout};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use crate::scan::{Order, Selection, Sorted};
use crate::stdout::written;
use anyhow::Result;
use ctnl::field::Subject;
use ctnl::output::{CHUNK, ChunkWriter, Writer};

/// Prints what comes, at once or sorted at the end.
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
    pub fn new(mut writer: Writer, limit: Option<u64>, order: Option<Order>) -> Self {
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

    /// Takes an entry; breaks when there is no use in more.
    pub fn flow(&mut self, subject: &Subject<'_>) -> ControlFlow<()> {
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

    /// Prints the rest; the number of entries printed.
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

/// One thread's part of a list that two threads print.
pub struct Part {
    writer: Writer,
    buffer: Vec<u8>,
    printed: u64,
}

/// What two threads print to. Only formats of lines that stand for themselves.
pub struct SharedPrinter {
    chunks: Mutex<(ChunkWriter<Stdout>, Option<io::Error>)>,
}

/// Bytes of a part before they are passed on.
const PART: usize = CHUNK / 4;

impl SharedPrinter {
    /// A printer, and the parts for two threads.
    pub fn new(mut writer: Writer) -> (Self, [Part; 2]) {
        let mut chunks = stdout();
        writer.begin(chunks.buffer());
        let part = |writer| Part { writer, buffer: Vec::with_capacity(PART + 4096), printed: 0 };
        (SharedPrinter { chunks: Mutex::new((chunks, None)) }, [part(writer.clone()), part(writer)])
    }

    /// Takes an entry from a thread.
    #[inline]
    pub fn flow(&self, part: &mut Part, subject: &Subject<'_>) -> ControlFlow<()> {
        part.writer.flow(&mut part.buffer, subject);
        part.printed += 1;
        if part.buffer.len() >= PART { self.pass_on(part) } else { ControlFlow::Continue(()) }
    }

    #[cold]
    fn pass_on(&self, part: &mut Part) -> ControlFlow<()> {
        let mut guard = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let (chunks, failed) = &mut *guard;
        if failed.is_none() {
            chunks.buffer().extend_from_slice(&part.buffer);
            *failed = chunks.commit().err();
        }
        part.buffer.clear();
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Prints the rest of both; the number of entries printed.
    pub fn finish(self, parts: [Part; 2]) -> Result<u64> {
        let mut printed = 0;
        for mut part in parts {
            printed += part.printed;
            let _ = self.pass_on(&mut part);
        }
        let (chunks, failed) = self.chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
        end(chunks, failed).map(|()| printed)
    }
}

fn stdout() -> ChunkWriter<Stdout> {
    let stdout = io::stdout();
    if stdout.is_terminal() { ChunkWriter::terminal(stdout) } else { ChunkWriter::new(stdout) }
}

fn end(chunks: ChunkWriter<Stdout>, failed: Option<io::Error>) -> Result<()> {
    let ended = match failed {
        Some(error) => Err(error),
        None => chunks.finish().map(drop),
    };
    written(ended)
}
