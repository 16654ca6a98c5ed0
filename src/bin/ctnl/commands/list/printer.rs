//! Prints entries: as they come, sorted at the end, or from two threads.

use std::io::{self, IsTerminal, Stdout};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use crate::scan::{HalfWork, Order, Selection, Sorted};
use crate::term::stdout::{for_many_lines, is_device, written};
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

/// What two threads print to. Only formats of lines that stand for themselves.
pub struct SharedPrinter {
    chunks: Mutex<(ChunkWriter<Stdout>, Option<io::Error>)>,
}

/// One thread's part of it.
pub struct Part<'p> {
    printer: &'p SharedPrinter,
    writer: Writer,
    buffer: Vec<u8>,
    /// Where the lines since the last settling begin.
    lines: Vec<usize>,
    printed: u64,
}

/// Bytes of a part before they are passed on.
const PART: usize = CHUNK / 4;
/// Room for the datagram that makes a part full, so that it need not grow.
const LAST_DATAGRAM: usize = CHUNK / 4;

impl SharedPrinter {
    /// A printer of what `writer` writes.
    pub fn new(writer: &mut Writer) -> Self {
        let mut chunks = stdout();
        writer.begin(chunks.buffer());
        SharedPrinter { chunks: Mutex::new((chunks, None)) }
    }

    /// The parts for two threads.
    pub fn parts(&self, writer: Writer) -> [Part<'_>; 2] {
        let part = |writer| {
            let buffer = Vec::with_capacity(PART + LAST_DATAGRAM);
            Part { printer: self, writer, buffer, lines: Vec::new(), printed: 0 }
        };
        [part(writer.clone()), part(writer)]
    }

    /// Prints the rest.
    pub fn finish(self) -> Result<()> {
        let (chunks, failed) = self.chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
        end(chunks, failed)
    }
}

impl Part<'_> {
    #[cold]
    fn pass_on(&mut self) -> ControlFlow<()> {
        let mut guard = self.printer.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let (chunks, failed) = &mut *guard;
        if failed.is_none() {
            *failed = self.append_to(chunks).err();
        }
        self.buffer.clear();
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn append_to(&self, chunks: &mut ChunkWriter<Stdout>) -> io::Result<()> {
        // A chunk that grew would stay so large.
        if chunks.buffer().capacity() - chunks.buffer().len() < self.buffer.len() {
            chunks.flush()?;
        }
        chunks.buffer().extend_from_slice(&self.buffer);
        chunks.commit()
    }

    /// Passes on the rest; the number of entries printed.
    pub fn finish(mut self) -> u64 {
        // What fails is told by the printer.
        let _ = self.pass_on();
        self.printed
    }
}

impl HalfWork for Part<'_> {
    #[inline]
    fn take(&mut self, subject: &Subject<'_>) {
        self.lines.push(self.buffer.len());
        self.writer.flow(&mut self.buffer, subject);
    }

    fn settle(&mut self, repeated: &[usize]) -> ControlFlow<()> {
        cut_out(&mut self.buffer, &self.lines, repeated);
        self.printed += (self.lines.len() - repeated.len()) as u64;
        self.lines.clear();
        if self.buffer.len() >= PART { self.pass_on() } else { ControlFlow::Continue(()) }
    }
}

/// Removes the lines at the places `repeated`, which rise, of those that begin at `lines`.
fn cut_out(buffer: &mut Vec<u8>, lines: &[usize], repeated: &[usize]) {
    for place in repeated.iter().rev() {
        if let Some(start) = lines.get(*place) {
            let end = lines.get(place + 1).copied().unwrap_or(buffer.len());
            // Those behind it that stood there are gone already.
            buffer.drain(*start..end.min(buffer.len()));
        }
    }
}

fn stdout() -> ChunkWriter<Stdout> {
    let stdout = for_many_lines();
    if stdout.is_terminal() {
        ChunkWriter::terminal(stdout)
    } else if is_device(&stdout) {
        ChunkWriter::direct(stdout)
    } else {
        ChunkWriter::new(stdout)
    }
}

fn end(chunks: ChunkWriter<Stdout>, failed: Option<io::Error>) -> Result<()> {
    let ended = match failed {
        Some(error) => Err(error),
        None => chunks.finish().map(drop),
    };
    written(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_lines_are_cut_out_and_no_others() {
        let cut = |repeated: &[usize]| {
            let mut buffer = b"kept\n0\n11\n222\n3\n".to_vec();
            cut_out(&mut buffer, &[5, 7, 10, 14], repeated);
            String::from_utf8_lossy(&buffer).into_owned()
        };
        assert_eq!(cut(&[]), "kept\n0\n11\n222\n3\n");
        assert_eq!(cut(&[1]), "kept\n0\n222\n3\n");
        assert_eq!(cut(&[0, 2]), "kept\n11\n3\n");
        assert_eq!(cut(&[2, 3]), "kept\n0\n11\n");
        assert_eq!(cut(&[0, 1, 2, 3]), "kept\n");
    }
}
