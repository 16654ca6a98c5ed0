//! `-`: standard output.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use super::deliver::{Deliver, DeliveryError};
use super::options::SinkOptions;
use crate::chunk::Chunk;
use crate::term::stdout::for_many_lines;

const CLOSED: &str = "standard output was closed";

/// Writes to a descriptor until its reader is gone.
pub struct StdoutSink {
    out: File,
    /// Written bytes of an unfinished chunk that was not truncated.
    partial: usize,
    /// Where in a regular file the unfinished chunk begins.
    chunk_start: Option<u64>,
    /// Precedes the first chunk; empty once it is written.
    header: Vec<u8>,
    /// It is a regular file with a name, as far as is known: it may be removed.
    has_name: bool,
    warnings: Vec<String>,
}

impl StdoutSink {
    /// The sink for the standard output of this process.
    pub fn open(options: &SinkOptions) -> Result<Self> {
        let out = for_many_lines().as_fd().try_clone_to_owned().context("open standard output")?;
        Ok(StdoutSink::new(out.into(), &options.header))
    }

    /// A sink that writes to `out`.
    pub fn new(out: File, header: &[u8]) -> Self {
        let has_name = out.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.nlink() > 0);
        StdoutSink { out, partial: 0, chunk_start: None, header: header.to_vec(), has_name, warnings: Vec::new() }
    }

    /// Counts written bytes. Of a short write it also records where the chunk begins, unless
    /// another process has written in between.
    fn count_written(&mut self, written: usize, is_whole: bool) {
        let is_first = self.partial == 0;
        self.partial += written;
        if is_whole {
            return;
        }
        let start = self.position().and_then(|position| position.checked_sub(self.partial as u64));
        self.chunk_start = start.filter(|_| is_first || start == self.chunk_start);
    }

    /// The offset in a regular file.
    fn position(&self) -> Option<u64> {
        let is_file = self.out.metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file { (&self.out).stream_position().ok() } else { None }
    }

    /// Truncates an unfinished chunk, unless another process has appended to it.
    fn truncate_partial_chunk(&mut self) -> io::Result<()> {
        let Some(start) = self.chunk_start.take() else { return Ok(()) };
        let end = start + self.partial as u64;
        if self.position() != Some(end) || self.out.metadata()?.len() != end {
            return Ok(());
        }
        self.out.set_len(start)?;
        self.partial = 0;
        (&self.out).seek(SeekFrom::Start(start)).map(drop)
    }

    /// Waits for space: the parent process may have made the descriptor non-blocking.
    fn wait(&self) {
        let _ = poll(&mut [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
    }

    /// Whether it is a pipe without a reader, or a terminal that is gone.
    fn is_closed(&self) -> bool {
        let mut out = [PollFd::new(self.out.as_fd(), PollFlags::empty())];
        poll(&mut out, PollTimeout::ZERO).is_ok()
            && out.iter().filter_map(PollFd::revents).any(|events| events.contains(PollFlags::POLLERR))
    }

    /// Whether it is a terminal, or was one: of one that is gone, not even isatty(3) has an answer.
    fn is_terminal(&self) -> bool {
        self.out.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device())
    }

    /// Reports that the file was removed. Its name is unknown, so that it cannot be created again.
    fn report_removal(&mut self) {
        if self.has_name && self.out.metadata().is_ok_and(|metadata| metadata.nlink() == 0) {
            self.has_name = false;
            let hint = "--to file:PATH creates a removed file again";
            self.warnings.push(format!(
                "sink -: the file of standard output was removed: all lines in it, and all that follow, are lost\n  \
                 hint: {hint}"
            ));
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), DeliveryError> {
        while let Some(rest) = bytes.get(self.partial..).filter(|rest| !rest.is_empty()) {
            match write(&self.out, rest) {
                Ok(written) => {
                    let is_whole = written == rest.len();
                    self.count_written(written, is_whole);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait(),
                // EIO: `hung_up_tty_write` in drivers/tty/tty_io.c.
                Err(Errno::EIO) if self.is_terminal() => return Err(DeliveryError::permanent(CLOSED)),
                Err(Errno::EPIPE) => return Err(DeliveryError::permanent(CLOSED)),
                Err(errno) => {
                    let error = self.truncate_partial_chunk().err().unwrap_or_else(|| errno.into());
                    return Err(DeliveryError::io("write to standard output", &error));
                }
            }
        }
        Ok(())
    }
}

impl Deliver for StdoutSink {
    fn deliver(&mut self, chunk: &Chunk) -> Result<(), DeliveryError> {
        let first = (!self.header.is_empty()).then(|| [&*self.header, &*chunk.bytes].concat());
        self.write_all(first.as_ref().unwrap_or(&chunk.bytes))?;
        self.partial = 0;
        self.chunk_start = None;
        self.header.clear();
        self.report_removal();
        Ok(())
    }

    /// Detects a closed pipe and a terminal that is gone although there is nothing to write.
    fn idle(&mut self) -> Result<(), DeliveryError> {
        self.report_removal();
        if self.is_closed() { Err(DeliveryError::permanent(CLOSED)) } else { Ok(()) }
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_closed_pipe_is_a_permanent_error() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = StdoutSink::new(OwnedFd::from(writer).into(), b"h\n");
        let chunk = Chunk { stream: "s".into(), first: 1, lines: 1, bytes: b"a\n".to_vec() };
        sink.deliver(&chunk).unwrap();
        sink.deliver(&chunk).unwrap();
        let mut read = [0; 6];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"h\na\na\n");
        sink.idle().unwrap();
        drop(reader);
        assert!(sink.idle().unwrap_err().permanent);
        assert!(sink.deliver(&chunk).unwrap_err().permanent);
    }

    #[test]
    fn a_terminal_that_is_gone_is_a_permanent_error() {
        let chunk = Chunk { stream: "s".into(), first: 1, lines: 1, bytes: b"a\n".to_vec() };
        for is_idle in [false, true] {
            let pair = nix::pty::openpty(None, None).unwrap();
            let mut sink = StdoutSink::new(pair.slave.into(), b"");
            sink.deliver(&chunk).unwrap();
            sink.idle().unwrap();
            drop(pair.master);
            let error = if is_idle { sink.idle() } else { sink.deliver(&chunk) }.unwrap_err();
            assert!(error.permanent, "{error}");
        }
    }

    #[test]
    fn a_file_that_was_removed_is_reported_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut sink = StdoutSink::new(file.reopen().unwrap(), b"");
        let chunk = Chunk { stream: "s".into(), first: 1, lines: 1, bytes: b"a\n".to_vec() };
        sink.deliver(&chunk).unwrap();
        sink.idle().unwrap();
        assert_eq!(sink.take_warnings(), [] as [&str; 0]);
        drop(file);
        sink.idle().unwrap();
        sink.deliver(&chunk).unwrap();
        let warnings = sink.take_warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("was removed"), "{warnings:?}");
        // A file that never had a name is nobody's mistake.
        let mut sink = StdoutSink::new(tempfile::tempfile().unwrap(), b"");
        sink.deliver(&chunk).unwrap();
        assert_eq!(sink.take_warnings(), [] as [&str; 0]);
    }

    #[test]
    fn a_partial_chunk_is_truncated_unless_another_process_has_appended() {
        for (others, left) in [("", "before\n"), ("others\n", "before\nhalfothers\n")] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut sink = StdoutSink::new(file.reopen().unwrap(), b"");
            (&sink.out).write_all(b"before\nhalf").unwrap();
            sink.count_written(4, false);
            OpenOptions::new().append(true).open(&file).unwrap().write_all(others.as_bytes()).unwrap();
            sink.truncate_partial_chunk().unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), left);
            assert_eq!(sink.partial, if others.is_empty() { 0 } else { 4 });
        }
    }
}
