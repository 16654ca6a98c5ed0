//! What a place does with what it is given, on a thread of its own.

use std::fmt;
use std::io;

use crate::chunk::Chunk;

/// Brings lines to one place. Called on the place's own thread, and may block there.
pub trait Deliver: Send {
    /// Brings a chunk to its place. Ok: all its lines are where they belong (written, or
    /// acknowledged), or on their way there and part of [`Deliver::unconfirmed`]. Err: none
    /// or some are, and the same chunk is given again later: each line arrives at least once.
    fn deliver(&mut self, chunk: &Chunk) -> Result<(), Down>;

    /// How many bytes of the chunks that were delivered last may not have arrived yet. The
    /// place itself sends them again where it must; should it not come to that before the
    /// program's end, the spool gets them.
    fn unconfirmed(&mut self) -> usize {
        0
    }

    /// The numbers of lines that the place will never take, however often they are given,
    /// since this was asked last. They count as delivered, for nothing behind them waits.
    fn refused(&mut self) -> Vec<u64> {
        Vec::new()
    }

    /// There was nothing to do for a second: time to notice that the other side is gone.
    /// After an Err it is called again until it is Ok, before anything is delivered.
    fn idle(&mut self) -> Result<(), Down> {
        Ok(())
    }

    /// SIGHUP: files are opened anew. Told between two chunks.
    fn reopen(&mut self) {}

    /// Everything was delivered, and nothing more comes. Called again after an Err, until
    /// the time for it is over.
    fn finish(&mut self) -> Result<(), Down> {
        Ok(())
    }
}

/// Why a place does not take lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// What was tried and what came of it, for a person.
    pub why: String,
    /// It will never take any again: nothing more is given to it.
    pub for_good: bool,
}

impl Down {
    /// It may take lines again later.
    pub fn for_now(why: impl Into<String>) -> Self {
        Down { why: why.into(), for_good: false }
    }

    /// It will never take any again.
    pub fn for_good(why: impl Into<String>) -> Self {
        Down { why: why.into(), for_good: true }
    }

    /// What was `tried`, and how it failed.
    pub fn of(tried: impl fmt::Display, error: &io::Error) -> Self {
        Down::for_now(format!("{tried}: {error}"))
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Down {}
