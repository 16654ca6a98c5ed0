//! Many requests in one datagram, with the result of each.

use std::collections::BTreeMap;

use netlink_packet_core::NLM_F_ACK;
use nix::errno::Errno;

use crate::netlink::{Connection, Error};
use crate::wire::{Batch, MessageClass};

/// Requests in one datagram. The default receive queue holds 256 answers, and more are lost; the time
/// per request is flat from 50 on; and the kernel handles a datagram without a pause (`netlink_rcv_skb`
/// in net/netlink/af_netlink.c).
pub const BATCH: usize = 200;

/// The results of a number of requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Requests that the kernel carried out.
    pub done: u64,
    /// Entries that were already gone (`ENOENT`).
    pub gone: u64,
    /// Requests that failed otherwise, by error number.
    pub failed: BTreeMap<i32, u64>,
    /// Requests that were sent and whose answer was lost with the connection.
    pub unanswered: u64,
    /// Requests that were not sent, because an earlier one ended with an error.
    pub unsent: u64,
}

impl Outcome {
    /// Number of requests that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Number of requests that were sent, whatever their result.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.done + self.gone + self.failures() + self.unanswered
    }

    fn add_refused(&mut self, errno: i32) {
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
/// Only the last request of a datagram requests an ACK, and the kernel answers every error
/// (`netlink_rcv_skb` in net/netlink/af_netlink.c): a request without an answer was carried out.
pub(super) fn send_each<T>(
    connection: &mut Connection,
    operation: &'static str,
    items: &[T],
    outcome: &mut Outcome,
    mut write: impl FnMut(&mut Batch, u32, u16, &T),
) -> Result<(), Error> {
    let (mut batch, mut unsent) = (Batch::new(), items.len() as u64);
    for part in items.chunks(BATCH) {
        batch.clear();
        let mut sequences = Vec::with_capacity(part.len());
        for (place, item) in part.iter().enumerate() {
            let sequence = connection.next_sequence();
            let flags = if place + 1 == part.len() { NLM_F_ACK } else { 0 };
            write(&mut batch, sequence, flags, item);
            sequences.push(sequence);
        }
        let sent = send_one(connection, operation, &batch, &sequences, outcome, &mut unsent);
        if sent.is_err() {
            outcome.unsent += unsent;
            return sent;
        }
    }
    Ok(())
}

/// Sends a datagram and counts the answers to its requests.
fn send_one(
    connection: &mut Connection,
    operation: &'static str,
    batch: &Batch,
    sequences: &[u32],
    outcome: &mut Outcome,
    unsent: &mut u64,
) -> Result<(), Error> {
    connection.send(operation, batch)?;
    *unsent -= sequences.len() as u64;
    let refused_before = outcome.gone + outcome.failures();
    let answered = collect_answers(connection, operation, sequences, outcome);
    let silent = sequences.len() as u64 - (outcome.gone + outcome.failures() - refused_before);
    match answered {
        Ok(()) => outcome.done += silent,
        Err(_) => outcome.unanswered += silent,
    }
    answered
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
                outcome.add_refused(errno.get());
            }
            if sequences.last() == Some(&message.sequence) {
                return Ok(());
            }
        }
    }
}
