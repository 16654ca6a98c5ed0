//! The interface between a sink's queue and what writes or sends its lines.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::chunk::Chunk;

/// Writes or sends lines to one destination. Called on the sink's own thread, where it may block.
pub trait Deliver: Send {
    /// Delivers a chunk. On `Ok` all its lines are written or acknowledged, or they were sent and
    /// are counted by [`Deliver::unconfirmed`]. On `Err` none or some of them are, and the same
    /// chunk is passed again later: each line is delivered at least once.
    fn deliver(&mut self, chunk: &Chunk) -> Result<(), DeliveryError>;

    /// Bytes of the last delivered chunks that are not confirmed. The implementation itself sends
    /// them again after a connection broke; if they are still unconfirmed when the program ends,
    /// they are moved to the spool.
    fn unconfirmed(&mut self) -> usize {
        0
    }

    /// Bytes of the last delivered chunks that become unconfirmed again if the connection breaks: the peer may
    /// lose what it has confirmed.
    fn recent(&mut self) -> usize {
        self.unconfirmed()
    }

    /// Returns and clears the numbers of the lines that the destination rejected for good. They
    /// count as delivered, so that they do not block the lines behind them.
    fn take_refused(&mut self) -> Vec<u64> {
        Vec::new()
    }

    /// Called after a second without lines, to detect a peer that is gone. After an `Err` it is
    /// called until it returns `Ok`, before anything else is delivered.
    fn idle(&mut self) -> Result<(), DeliveryError> {
        Ok(())
    }

    /// Closes and reopens files (SIGHUP), before it returns. Called between two chunks. What cannot be
    /// opened is opened by the next call of another method, which returns the error.
    fn reopen(&mut self) {}

    /// Called when everything was delivered and no more lines come. Called again after an `Err`
    /// until the time for it is over.
    fn finish(&mut self) -> Result<(), DeliveryError> {
        Ok(())
    }

    /// Whether the destination stores lines and returns receipts, so that lines that it loses can be
    /// sent again if they are kept.
    fn gives_receipts(&self) -> bool {
        false
    }

    /// Returns and clears the receipt for the last delivered chunk. None if nothing of it was stored.
    fn take_receipt(&mut self) -> Option<Receipt> {
        None
    }

    /// Delivered lines are kept from now on: if the destination has lost what is behind `last`, nothing is
    /// delivered until this is called again. `last` is None if it is not known what it has.
    fn keep(&mut self, _last: Option<Receipt>) {}

    /// Whether the destination has lost lines that it had acknowledged.
    fn has_lost_lines(&self) -> bool {
        false
    }

    /// The index of the first of `receipts`, oldest first, whose lines the destination has lost; their
    /// number if it has all of them. The lines of that one that it still has are skipped when they are
    /// delivered again.
    fn first_lost(&mut self, receipts: &[Receipt]) -> Result<usize, DeliveryError> {
        Ok(receipts.len())
    }

    /// Returns and clears what the operator must know although lines are delivered.
    fn take_warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Where a destination has stored the lines of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The name of the store.
    pub store: Arc<str>,
    /// The least and the greatest number that the store has given to one of the lines.
    pub first: u64,
    pub last: u64,
    /// The line with the number `last`: its stream and its own number.
    pub stream: Arc<str>,
    pub line: u64,
}

/// Why lines could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryError {
    /// What was attempted and how it failed.
    pub reason: String,
    /// Every later attempt would fail too: nothing more is delivered.
    pub permanent: bool,
}

impl DeliveryError {
    /// A later attempt may succeed.
    pub fn temporary(reason: impl Into<String>) -> Self {
        DeliveryError { reason: reason.into(), permanent: false }
    }

    /// No later attempt can succeed.
    pub fn permanent(reason: impl Into<String>) -> Self {
        DeliveryError { reason: reason.into(), permanent: true }
    }

    /// A temporary error of a system call: what was `attempted`, and the kernel's answer.
    pub fn io(attempted: impl fmt::Display, error: &io::Error) -> Self {
        DeliveryError::temporary(format!("{attempted}: {error}"))
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for DeliveryError {}
