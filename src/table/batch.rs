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
    /// Of those that were gone or failed: entries that had been changed in part. See [`update`](super::update()).
    pub partly: u64,
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

    /// Adds the results of other requests.
    pub fn add(&mut self, other: &Outcome) {
        self.done += other.done;
        self.gone += other.gone;
        self.partly += other.partly;
        self.unanswered += other.unanswered;
        self.unsent += other.unsent;
        for (errno, count) in &other.failed {
            *self.failed.entry(*errno).or_default() += count;
        }
    }

    pub(super) fn add_refused(&mut self, errno: i32) {
        if errno == Errno::ENOENT as i32 {
            self.gone += 1;
        } else {
            *self.failed.entry(errno).or_default() += 1;
        }
    }
}

/// Sends one request per item, in datagrams of up to [`BATCH`], and counts the
/// answers into `outcome`.
pub(super) fn send_each<T>(
    connection: &mut Connection,
    operation: &'static str,
    items: &[T],
    outcome: &mut Outcome,
    write: impl FnMut(&mut Batch, u32, u16, &T),
) -> Result<(), Error> {
    send_each_with_refusals(connection, operation, items, outcome, write, |_, _| {})
}

/// [`send_each`], which calls `refused` with the place in `items` and the error number of each refused request.
pub(super) fn send_each_with_refusals<T>(
    connection: &mut Connection,
    operation: &'static str,
    items: &[T],
    outcome: &mut Outcome,
    mut write: impl FnMut(&mut Batch, u32, u16, &T),
    mut refused: impl FnMut(usize, i32),
) -> Result<(), Error> {
    let (mut requests, mut unsent) = (Requests::new(operation), items.len() as u64);
    for (number, part) in items.chunks(BATCH).enumerate() {
        requests.fill(connection, part, &mut write);
        let sent = requests.send(connection).and_then(|()| {
            unsent -= part.len() as u64;
            let counted = requests.count_answers(connection, outcome);
            requests.refused().iter().for_each(|(place, errno)| refused(number * BATCH + place, *errno));
            counted
        });
        if sent.is_err() {
            outcome.unsent += unsent;
            return sent;
        }
    }
    Ok(())
}

/// Up to [`BATCH`] requests in one datagram.
///
/// Only the last one requests an ACK, and the kernel answers every error (`netlink_rcv_skb` in
/// net/netlink/af_netlink.c): a request without an answer was carried out.
#[derive(Debug)]
pub(super) struct Requests {
    operation: &'static str,
    batch: Batch,
    sequences: Vec<u32>,
    /// The places of the requests that were refused, with the error numbers.
    refused: Vec<(usize, i32)>,
}

impl Requests {
    pub(super) fn new(operation: &'static str) -> Self {
        Requests { operation, batch: Batch::new(), sequences: Vec::with_capacity(BATCH), refused: Vec::new() }
    }

    /// Replaces the requests by one per item.
    pub(super) fn fill<T>(
        &mut self,
        connection: &mut Connection,
        items: &[T],
        mut write: impl FnMut(&mut Batch, u32, u16, &T),
    ) {
        self.batch.clear();
        self.sequences.clear();
        for (place, item) in items.iter().enumerate() {
            let sequence = connection.next_sequence();
            let flags = if place + 1 == items.len() { NLM_F_ACK } else { 0 };
            write(&mut self.batch, sequence, flags, item);
            self.sequences.push(sequence);
        }
    }

    /// Sends them. The kernel has handled them when it returns (`netlink_unicast_kernel` in
    /// net/netlink/af_netlink.c).
    pub(super) fn send(&self, connection: &mut Connection) -> Result<(), Error> {
        // The kernel refuses a datagram without a message (`netlink_sendmsg`, ENODATA since Linux 5.17).
        if self.batch.is_empty() { Ok(()) } else { connection.send(self.operation, &self.batch) }
    }

    /// Counts the answers.
    pub(super) fn count_answers(&mut self, connection: &mut Connection, outcome: &mut Outcome) -> Result<(), Error> {
        let answered = self.collect_answers(connection);
        self.refused.iter().for_each(|(_, errno)| outcome.add_refused(*errno));
        let silent = (self.sequences.len() - self.refused.len()) as u64;
        match answered {
            Ok(()) => outcome.done += silent,
            Err(_) => outcome.unanswered += silent,
        }
        answered
    }

    /// The requests that the kernel refused, by their place, as of [`Requests::collect_answers`].
    pub(super) fn refused(&self) -> &[(usize, i32)] {
        &self.refused
    }

    /// Receives the answers.
    pub(super) fn collect_answers(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let (operation, last) = (self.operation, self.sequences.last().copied());
        self.refused.clear();
        loop {
            for message in connection.receive(operation)? {
                let message = message.map_err(Error::decode(operation))?;
                let Some(place) = self.sequences.iter().position(|sequence| *sequence == message.sequence) else {
                    continue;
                };
                let MessageClass::Answer(answer) = message.classify().map_err(Error::decode(operation))? else {
                    continue;
                };
                if let Some(errno) = answer.errno {
                    self.refused.push((place, errno.get()));
                }
                if last == Some(message.sequence) {
                    return Ok(());
                }
            }
        }
    }
}
