//! Lines of two threads on one standard output.

use std::io::{self, Stdout};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use ctnl::field::Subject;
use ctnl::output::{CHUNK, ChunkWriter, Writer};

use super::super::printer::{finish_chunks, stdout_in_chunks};
use super::halves::HalfWork;
use crate::term::stdout::Delivered;

/// Standard output of two threads, for formats whose lines do not depend on each other.
pub struct SharedPrinter {
    chunks: Mutex<(ChunkWriter<Stdout>, Option<io::Error>)>,
}

/// One thread's part of the output.
pub struct Part<'p> {
    printer: &'p SharedPrinter,
    writer: Writer,
    buffer: Vec<u8>,
    /// Where the lines of this datagram begin.
    lines: Vec<usize>,
    printed: u64,
}

/// Bytes of a part before they are passed on.
const PART: usize = CHUNK / 4;
/// Capacity for the datagram that fills a part, so that it does not grow.
const LAST_DATAGRAM: usize = CHUNK / 4;

impl SharedPrinter {
    /// A printer of the format of `writer`.
    pub fn new(writer: &mut Writer) -> Self {
        let mut chunks = stdout_in_chunks();
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
    pub fn finish(self) -> Result<Delivered> {
        let (chunks, failed) = self.chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
        finish_chunks(chunks, failed)
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

    /// Passes the rest on. The number of entries printed.
    pub fn finish(mut self) -> u64 {
        // The printer keeps the error.
        let _ = self.pass_on();
        self.printed
    }
}

impl HalfWork for Part<'_> {
    #[inline]
    fn add(&mut self, subject: &Subject<'_>) {
        self.lines.push(self.buffer.len());
        self.writer.flow(&mut self.buffer, subject);
    }

    fn end_datagram(&mut self, repeated: &[usize]) -> ControlFlow<()> {
        cut_out(&mut self.buffer, &self.lines, repeated);
        self.printed += (self.lines.len() - repeated.len()) as u64;
        self.lines.clear();
        if self.buffer.len() >= PART { self.pass_on() } else { ControlFlow::Continue(()) }
    }
}

/// Removes, of the lines that begin at `lines`, those with the ascending indexes `repeated`.
fn cut_out(buffer: &mut Vec<u8>, lines: &[usize], repeated: &[usize]) {
    for place in repeated.iter().rev() {
        if let Some(start) = lines.get(*place) {
            let end = lines.get(place + 1).copied().unwrap_or(buffer.len());
            // Later ones have been removed already.
            buffer.drain(*start..end.min(buffer.len()));
        }
    }
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
