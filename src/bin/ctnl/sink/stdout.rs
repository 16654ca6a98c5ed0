//! Standard output.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use super::{Deliver, Down, Options, Word};
use crate::chunk::Chunk;
use crate::term::stdout::for_many_lines;

const CLOSED: &str = "standard output was closed";

/// A descriptor that is written to until its reader has had enough.
pub(super) struct Stdout {
    out: File,
    /// How much of the chunk is written, where it cannot be cut back: the rest follows later.
    done: usize,
    /// Where in a file the chunk begins that was written in part.
    begin: Option<u64>,
    /// What stands before the first chunk, until it has been written.
    header: Vec<u8>,
}

pub fn make(_: &Word, options: &Options) -> Result<Box<dyn Deliver>> {
    let out = for_many_lines().as_fd().try_clone_to_owned().context("open standard output")?;
    Ok(Box::new(Stdout::new(out.into(), &options.header)))
}

impl Stdout {
    pub(super) fn new(out: File, header: &[u8]) -> Self {
        Stdout { out, done: 0, begin: None, header: header.to_vec() }
    }

    /// Notes what was written, and where the chunk begins, as long as all of it is in one piece.
    fn wrote(&mut self, written: usize, is_whole: bool) {
        let is_first = self.done == 0;
        self.done += written;
        if is_whole {
            return;
        }
        let begin = self.place().and_then(|place| place.checked_sub(self.done as u64));
        self.begin = begin.filter(|_| is_first || begin == self.begin);
    }

    /// Where the next byte goes, unless that is no file.
    fn place(&self) -> Option<u64> {
        let is_file = self.out.metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file { (&self.out).stream_position().ok() } else { None }
    }

    /// Cuts off the half of a chunk, unless others have written behind it.
    fn cut_back(&mut self) -> io::Result<()> {
        let Some(begin) = self.begin.take() else { return Ok(()) };
        let end = begin + self.done as u64;
        if self.place() != Some(end) || self.out.metadata()?.len() != end {
            return Ok(());
        }
        self.out.set_len(begin)?;
        self.done = 0;
        (&self.out).seek(SeekFrom::Start(begin)).map(drop)
    }

    /// Waits where whoever started us made the descriptor non-blocking.
    fn wait(&self) {
        let _ = poll(&mut [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
    }

    /// Whether a pipe has no reader any more.
    fn is_closed(&self) -> bool {
        let mut out = [PollFd::new(self.out.as_fd(), PollFlags::empty())];
        poll(&mut out, PollTimeout::ZERO).is_ok()
            && out.iter().filter_map(PollFd::revents).any(|events| events.contains(PollFlags::POLLERR))
    }
}

impl Deliver for Stdout {
    fn deliver(&mut self, chunk: &Chunk) -> Result<(), Down> {
        let first = (!self.header.is_empty()).then(|| [&*self.header, &*chunk.bytes].concat());
        let bytes = first.as_ref().unwrap_or(&chunk.bytes);
        while let Some(rest) = bytes.get(self.done..).filter(|rest| !rest.is_empty()) {
            match write(&self.out, rest) {
                Ok(written) => {
                    let is_whole = written == rest.len();
                    self.wrote(written, is_whole);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait(),
                Err(Errno::EPIPE) => return Err(Down::for_good(CLOSED)),
                Err(errno) => {
                    let error = self.cut_back().err().unwrap_or_else(|| errno.into());
                    return Err(Down::of("write to standard output", &error));
                }
            }
        }
        self.done = 0;
        self.begin = None;
        self.header.clear();
        Ok(())
    }

    /// A reader who has had enough need not wait for an event to be rid of us.
    fn idle(&mut self) -> Result<(), Down> {
        if self.is_closed() { Err(Down::for_good(CLOSED)) } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_closed_pipe_is_the_end_for_good() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = Stdout::new(OwnedFd::from(writer).into(), b"h\n");
        let chunk = Chunk { stream: "s".into(), first: 1, lines: 1, bytes: b"a\n".to_vec() };
        sink.deliver(&chunk).unwrap();
        sink.deliver(&chunk).unwrap();
        let mut read = [0; 6];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"h\na\na\n");
        sink.idle().unwrap();
        drop(reader);
        assert!(sink.idle().unwrap_err().for_good);
        assert!(sink.deliver(&chunk).unwrap_err().for_good);
    }

    #[test]
    fn a_half_chunk_is_cut_off_a_file_unless_others_have_written_behind_it() {
        for (others, left) in [("", "before\n"), ("others\n", "before\nhalfothers\n")] {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut sink = Stdout::new(file.reopen().unwrap(), b"");
            (&sink.out).write_all(b"before\nhalf").unwrap();
            sink.wrote(4, false);
            OpenOptions::new().append(true).open(&file).unwrap().write_all(others.as_bytes()).unwrap();
            sink.cut_back().unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), left);
            assert_eq!(sink.done, if others.is_empty() { 0 } else { 4 });
        }
    }
}
