//! Standard output.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use super::{Deliver, Down, Options, Word};
use crate::chunk::Chunk;
use crate::stdout::for_many_lines;

const CLOSED: &str = "standard output was closed";

/// A descriptor that is written to until its reader has had enough.
struct Stdout {
    out: OwnedFd,
    /// How much of the chunk is written: a full disk stops in the middle of one, and the rest
    /// follows later.
    done: usize,
    /// What stands before the first chunk, until it has been written.
    header: Vec<u8>,
}

pub fn make(_: &Word, options: &Options) -> Result<Box<dyn Deliver>> {
    let out = for_many_lines().as_fd().try_clone_to_owned().context("open standard output")?;
    Ok(Box::new(Stdout { out, done: 0, header: options.header.to_vec() }))
}

impl Stdout {
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
                Ok(written) => self.done += written,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait(),
                Err(Errno::EPIPE) => return Err(Down::for_good(CLOSED)),
                Err(errno) => return Err(Down::of("write to standard output", &errno.into())),
            }
        }
        self.done = 0;
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
    use std::io::{self, Read};

    use super::*;

    #[test]
    fn a_closed_pipe_is_the_end_for_good() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = Stdout { out: writer.into(), done: 0, header: b"h\n".to_vec() };
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
}
