//! Many requests in one datagram, and what became of each.

use std::collections::BTreeMap;

use netlink_packet_core::NLM_F_ACK;
use nix::errno::Errno;

use crate::netlink::{Connection, Error};
use crate::wire::{Batch, MessageClass};

/// Requests in one datagram. The default receive queue holds 256 answers and
/// loses more; time per request is flat from 50 on; and the kernel works through
/// a datagram without a pause.
pub const BATCH: usize = 200;

/// What became of a number of requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Requests that the kernel carried out.
    pub done: u64,
    /// Entries that were gone already (`ENOENT`).
    pub gone: u64,
    /// Requests that failed otherwise, by error number.
    pub failed: BTreeMap<i32, u64>,
    /// Requests that were sent and whose answer was lost with the connection.
    pub unanswered: u64,
}

impl Outcome {
    /// Number of requests that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Number of requests that were sent, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.done + self.gone + self.failures() + self.unanswered
    }

    fn refused(&mut self, errno: i32) {
        if errno == Errno::ENOENT as i32 {
            self.gone += 1;
        } else {
            *self.failed.entry(errno).or_default() += 1;
        }
    }
}

/// Sends one request per item, in datagrams of up to [`BATCH`], and counts the
/// answers into `outcome`.
///
/// Success is silent but for the last request of a datagram, and every error is
/// answered: what was not refused was done.
pub(super) fn send_each<T>(
    connection: &mut Connection,
    operation: &'static str,
    items: &[T],
    outcome: &mut Outcome,
    mut write: impl FnMut(&mut Batch, u32, u16, &T),
) -> Result<(), Error> {
    let mut batch = Batch::new();
    for part in items.chunks(BATCH) {
        batch.clear();
        let mut sequences = Vec::with_capacity(part.len());
        for (place, item) in part.iter().enumerate() {
            let sequence = connection.next_sequence();
            let flags = if place + 1 == part.len() { NLM_F_ACK } else { 0 };
            write(&mut batch, sequence, flags, item);
            sequences.push(sequence);
        }
        connection.send(operation, &batch)?;
        let refused_before = outcome.gone + outcome.failures();
        let answered = collect_answers(connection, operation, &sequences, outcome);
        let silent = part.len() as u64 - (outcome.gone + outcome.failures() - refused_before);
        match answered {
            Ok(()) => outcome.done += silent,
            Err(_) => outcome.unanswered += silent,
        }
        answered?;
    }
    Ok(())
}

fn collect_answers(
    connection: &mut Connection,
    operation: &'static str,
    sequences: &[u32],
    outcome: &mut Outcome,
) -> Result<(), Error> {
    loop {
        for message in connection.receive(operation)? {
            let message = message.map_err(Error::decode(operation))?;
            if !sequences.contains(&message.sequence) {
                continue;
            }
            let MessageClass::Answer(answer) = message.classify().map_err(Error::decode(operation))? else {
                continue;
            };
            if let Some(errno) = answer.errno {
                outcome.refused(errno.get());
            }
            if sequences.last() == Some(&message.sequence) {
                return Ok(());
            }
        }
    }
}
