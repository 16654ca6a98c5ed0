//! Subscribes to conntrack events, and reports each loss with its exact number.
//!
//! A socket whose queue is full refuses events until the queue has been emptied, and the
//! kernel counts the refused ones (`netlink_overrun` and `netlink_rcv_wake` in
//! net/netlink/af_netlink.c). So a loss has one place: behind the events that were queued
//! and before the next one that is queued. [`Step::Lost`] is returned there.
//!
//! ```text
//! queued | queued | queued |  refused × n  | queued …
//!    Event   Event   Event   Lost(Some(n))    Event
//! ```
//!
//! ```no_run
//! use ctnl::model::Event;
//! use ctnl::netlink::Netns;
//! use ctnl::table::{Events, Step, Subscription};
//!
//! # fn main() -> Result<(), ctnl::netlink::Error> {
//! let mut events = Events::subscribe(&Netns::Current, &Subscription::default())?;
//! let mut event = Event::blank();
//! loop {
//!     match events.next(&mut event)? {
//!         Step::Event => println!("{:?} {:?}", event.kind, event.flow.orig),
//!         Step::Lost(number) => println!("lost: {number:?}"),
//!         Step::Empty => break, // poll(2) the socket, then go on
//!         Step::Expectation | Step::Unreadable(_) => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::os::fd::{AsFd, BorrowedFd};

use super::losses::{EmptyOutcome, Losses};
use crate::model::{Event, EventKind};
use crate::netlink::{Error, Listener, MemInfo, Netns, Received, SocketFilter};
use crate::wire::uapi::{nfnl_subsys, nfnlgrp};
use crate::wire::{DecodeError, DecodeErrorKind, Message, Messages};

/// The events to subscribe to, and the properties of the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// New entries.
    pub new: bool,
    /// Changes of entries: state, status, mark, label, helper. No counters, no timeouts.
    pub update: bool,
    /// Ends of entries.
    pub destroy: bool,
    /// New, changed and ended expectations.
    pub expectations: bool,
    /// The requested size of the socket's queue in bytes. The kernel doubles it
    /// (`__sock_set_rcvbuf` in net/core/sock.c); an event occupies 1280 bytes of that, so 8 MiB
    /// hold 13 107 events.
    pub buffer: usize,
    /// The kernel keeps a destroyed entry until its event has been queued
    /// (`nf_conntrack_eventmask_report` in net/netfilter/nf_conntrack_ecache.c). Until then it
    /// occupies memory and counts against `nf_conntrack_max`. Each failed attempt is counted as
    /// a loss: see [`Step::Lost`].
    #[doc(alias = "NETLINK_BROADCAST_ERROR")]
    pub reliable: bool,
    /// A filter of the socket: events that it rejects are not queued.
    pub exclude: Option<SocketFilter>,
}

impl Default for Subscription {
    /// All events of entries, 8 MiB.
    fn default() -> Self {
        Subscription {
            new: true,
            update: true,
            destroy: true,
            expectations: false,
            buffer: 8 << 20,
            reliable: false,
            exclude: None,
        }
    }
}

impl Subscription {
    fn groups(&self) -> impl Iterator<Item = u32> {
        let expectations = [nfnlgrp::CONNTRACK_EXP_NEW, nfnlgrp::CONNTRACK_EXP_UPDATE, nfnlgrp::CONNTRACK_EXP_DESTROY];
        let entries = [
            (self.new, nfnlgrp::CONNTRACK_NEW),
            (self.update, nfnlgrp::CONNTRACK_UPDATE),
            (self.destroy, nfnlgrp::CONNTRACK_DESTROY),
        ];
        let wanted = entries.into_iter().chain(expectations.map(|group| (self.expectations, group)));
        wanted.filter_map(|(wanted, group)| wanted.then_some(group))
    }
}

/// The size of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Bytes that were requested, [`Listener::LARGEST`] at most.
    pub requested: usize,
    /// The limit of the queue in bytes, `sk_rcvbuf`: twice the granted size.
    pub capacity: usize,
    /// It was set with `SO_RCVBUFFORCE`, which ignores `rmem_max` and needs CAP_NET_ADMIN in the
    /// initial user namespace.
    #[doc(alias = "SO_RCVBUFFORCE")]
    /// Otherwise `net.core.rmem_max` limits it.
    pub forced: bool,
}

impl Buffer {
    /// Whether it is as large as requested.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.capacity / 2 >= self.requested
    }
}

/// The state of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Bytes in use.
    pub used: u32,
    /// The limit in bytes.
    pub capacity: u32,
    /// Refused events since the socket was opened, modulo 2³². [`Step::Lost`] has reported all but
    /// the most recent ones.
    pub drops: u32,
}

/// What [`Events::next`] has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An event of an entry, decoded.
    Event,
    /// An event of an expectation: [`Events::message`] returns it.
    Expectation,
    /// The queue is empty: wait for the socket.
    Empty,
    /// This many events are missing here. The sum is the kernel's own count.
    ///
    /// `None`: the number is unknown. The kernel had no memory to make an event, and does not
    /// count that (`ctnetlink_conntrack_event` in net/netfilter/nf_conntrack_netlink.c).
    ///
    /// With a reliable subscription the number is an upper bound: `destroy` events are
    /// delivered later, and each failed attempt is counted.
    ///
    /// A number can include that of the next loss: where the process is suspended just after it
    /// has received the last event before a loss, and the queue is filled and overrun again
    /// meanwhile. A loss is never reported later than it happened.
    Lost(Option<u64>),
    /// A message that cannot be decoded; the rest of its datagram is skipped.
    Unreadable(DecodeError),
}

/// A subscription: one non-blocking socket.
#[derive(Debug)]
pub struct Events {
    listener: Listener,
    /// The groups that were joined.
    groups: Vec<u32>,
    buffer: Buffer,
    losses: Losses,
    /// The loss behind the current datagram.
    missing: Option<Option<u64>>,
    /// The length of the current datagram, and the offset of its next message.
    datagram: (usize, usize),
    /// The offset of the current message.
    message: usize,
}

impl Events {
    /// Subscribes in `netns`, which is kept open. The queue has its size and its filter before
    /// the first group is joined.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_ADMIN in the namespace; `EINVAL` for a filter that the kernel
    /// rejects; the namespace cannot be entered.
    pub fn subscribe(netns: &Netns, subscription: &Subscription) -> Result<Self, Error> {
        let listener = Listener::open(netns)?;
        if let Some(filter) = &subscription.exclude {
            listener.attach(filter)?;
        }
        if subscription.reliable {
            listener.set_broadcast_error()?;
        }
        let buffer = size(&listener, subscription.buffer)?;
        let losses = Losses::since(listener.meminfo()?.drops);
        let groups: Vec<u32> = subscription.groups().collect();
        groups.iter().try_for_each(|group| listener.join(*group))?;
        Ok(Events { listener, groups, buffer, losses, missing: None, datagram: (0, 0), message: 0 })
    }

    /// The network namespace of the subscription.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        self.listener.netns()
    }

    /// The requested and the actual size of the queue.
    #[must_use]
    pub fn buffer(&self) -> Buffer {
        self.buffer
    }

    /// Leaves all groups: nothing is queued, refused or counted after this returns. Events that
    /// are queued stay to be received, so there is an end: at [`Step::Empty`] everything that
    /// was sent before this call has been returned or reported as lost.
    ///
    /// # Errors
    /// setsockopt(2) fails.
    #[doc(alias = "NETLINK_DROP_MEMBERSHIP")]
    pub fn unsubscribe(&mut self) -> Result<(), Error> {
        std::mem::take(&mut self.groups).into_iter().try_for_each(|group| self.listener.leave(group))
    }

    /// Enlarges the queue, and keeps what is queued. Never shrinks it.
    ///
    /// # Errors
    /// setsockopt(2) or getsockopt(2) fails.
    pub fn grow(&mut self, bytes: usize) -> Result<Buffer, Error> {
        if bytes > self.buffer.capacity / 2 {
            self.buffer = size(&self.listener, bytes)?;
        }
        Ok(self.buffer)
    }

    /// The current state of the queue. Also adds the kernel's count of refused events, which has
    /// 32 bits: a caller that does not receive for hours has to call this from time to time.
    ///
    /// # Errors
    /// getsockopt(2) fails.
    #[doc(alias = "SO_MEMINFO")]
    pub fn queue(&self) -> Result<Queue, Error> {
        let MemInfo { used, capacity, drops } = self.listener.meminfo()?;
        self.losses.add_sample(drops);
        Ok(Queue { used, capacity, drops })
    }

    /// Receives the next event into `event`. Never blocks.
    ///
    /// # Errors
    /// recvmsg(2), recvmmsg(2) or getsockopt(2) fails.
    #[inline]
    pub fn next(&mut self, event: &mut Event) -> Result<Step, Error> {
        loop {
            if self.datagram.1 < self.datagram.0 {
                if let Some(step) = self.read(event) {
                    return Ok(step);
                }
                continue;
            }
            if let Some(lost) = self.missing.take() {
                return Ok(Step::Lost(lost));
            }
            if let Some(step) = self.receive()? {
                return Ok(step);
            }
        }
    }

    /// Receives a datagram; the step to return where there is none.
    #[inline]
    fn receive(&mut self) -> Result<Option<Step>, Error> {
        // While the place of a loss is being located, the queue is sampled after each datagram.
        let received = self.listener.receive(!self.losses.is_locating())?;
        let sample = || self.listener.meminfo();
        match received {
            Received::Datagram(length) => {
                self.missing = self.losses.on_datagram(length, sample)?;
                self.datagram = (length, 0);
            }
            Received::Overrun => self.losses.on_enobufs(sample)?,
            Received::Empty => match self.losses.on_empty(sample)? {
                EmptyOutcome::Complete => return Ok(Some(Step::Empty)),
                EmptyOutcome::Lost(lost) => return Ok(Some(Step::Lost(lost))),
                EmptyOutcome::Refilled => {}
            },
        }
        Ok(None)
    }

    /// The message of the last step.
    #[must_use]
    pub fn message(&self) -> Option<Message<'_>> {
        let datagram = self.listener.datagram(self.datagram.0);
        Messages::new(datagram.get(self.message..)?).next()?.ok()
    }

    /// Decodes the next message of the datagram; None for a message of an unknown type. The
    /// kernel sends one event per datagram, which is not guaranteed.
    #[inline]
    fn read(&mut self, event: &mut Event) -> Option<Step> {
        let (length, at) = self.datagram;
        self.message = at;
        let message = match message_at(self.listener.datagram(length), length, at) {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                self.datagram.1 = length;
                return Some(Step::Unreadable(error));
            }
            None => {
                self.datagram.1 = length;
                return None;
            }
        };
        self.datagram.1 = at + (message.offset + message.payload.len()).next_multiple_of(4);
        if let Some(kind) = EventKind::of(&message) {
            return Some(event.decode_from(kind, &message).map_or_else(Step::Unreadable, |()| Step::Event));
        }
        (message.kind.to_be_bytes()[0] == nfnl_subsys::CTNETLINK_EXP).then_some(Step::Expectation)
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// The message at offset `at` of a datagram of `length` bytes, of which `bytes` were stored.
fn message_at(bytes: &[u8], length: usize, at: usize) -> Option<Result<Message<'_>, DecodeError>> {
    let truncated = DecodeError { kind: DecodeErrorKind::Truncated, attribute: None, offset: at };
    let message = Messages::new(bytes.get(at..).unwrap_or_default()).next();
    message.or_else(|| (bytes.len() < length).then_some(Err(truncated)))
}

/// Sets the size of the queue.
fn size(listener: &Listener, requested: usize) -> Result<Buffer, Error> {
    let requested = requested.min(Listener::LARGEST);
    let forced = listener.set_capacity(requested)?;
    Ok(Buffer { requested, capacity: listener.capacity()?, forced })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of 20 bytes: a netlink header and a netfilter header.
    const MESSAGE: [u8; 20] = [20, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_datagram_that_was_truncated_between_two_messages_is_an_error() {
        assert!(message_at(&MESSAGE, 20, 0).is_some_and(|message| message.is_ok()));
        assert!(message_at(&MESSAGE, 20, 20).is_none());
        let rest = message_at(&MESSAGE, 40, 20);
        assert!(rest.is_some_and(|rest| rest.is_err_and(|error| error.kind == DecodeErrorKind::Truncated)));
    }
}
