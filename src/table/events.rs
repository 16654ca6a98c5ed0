//! Subscribe to what happens to the table, and know exactly what was missed.
//!
//! A queue that is full refuses what comes until it has been read empty, and the
//! kernel counts each refusal. So what is lost is lost in one place: after what
//! was queued and before what is queued next. There [`Step::Lost`] stands.
//!
//! ```text
//! queued | queued | queued |  refused × n  | queued …
//!    Event   Event   Event     Lost(n)        Event
//! ```

use std::os::fd::{AsFd, BorrowedFd};

use super::losses::{End, Losses};
use crate::model::{Event, EventKind};
use crate::netlink::{Error, Listener, MemInfo, Netns, Received, SocketFilter};
use crate::sysctl::Sysctl;
use crate::wire::uapi::{nfnl_subsys, nfnlgrp};
use crate::wire::{DecodeError, DecodeErrorKind, Message, Messages};

/// What to listen for, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Entries that come.
    pub new: bool,
    /// Entries that change.
    pub update: bool,
    /// Entries that go.
    pub destroy: bool,
    /// Expectations that come and go.
    pub expectations: bool,
    /// Bytes to ask for as the queue's size. The kernel takes twice as many, of
    /// which an event takes 1280: 8 MiB hold 13 107 events.
    pub buffer: usize,
    /// Have the kernel keep destroyed entries until their event has been
    /// received, at the price of their memory and of their place in the table.
    /// What comes again was counted as lost before: see [`Step::Lost`].
    #[doc(alias = "NETLINK_BROADCAST_ERROR")]
    pub reliable: bool,
    /// What the kernel shall not even queue.
    pub exclude: Option<SocketFilter>,
}

impl Default for Subscription {
    /// All of what happens to entries, 8 MiB.
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
    /// Bytes that were asked for, [`Listener::LARGEST`] at most.
    pub asked: usize,
    /// Bytes that may be taken, as the kernel counts: twice what it granted.
    pub got: usize,
    /// It was set by force, whatever `rmem_max` is. That takes CAP_NET_ADMIN in
    /// the first user namespace.
    pub forced: bool,
    /// `net.core.rmem_max`, which clamps what is not forced. None where it cannot
    /// be read.
    pub rmem_max: Option<u64>,
}

impl Buffer {
    /// Whether it is as large as asked for.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.got / 2 >= self.asked
    }
}

/// What the queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Bytes that are taken.
    pub used: u32,
    /// Bytes that may be taken.
    pub capacity: u32,
    /// Events that did not fit since the subscription began, modulo 2³². Of
    /// those, [`Step::Lost`] has said all but the last.
    pub drops: u32,
}

/// What a look into the queue brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An event of an entry.
    Event,
    /// One of an expectation: [`Events::message`] holds it.
    Expectation,
    /// Nothing is queued: wait for the socket.
    Empty,
    /// So many events are missing here. The sum is the kernel's own count.
    ///
    /// 0 means: some, nobody knows how many. The kernel had no memory to make an
    /// event. Of a reliable subscription the number is an upper bound: destroy
    /// events come later, and each time that one did not fit is counted.
    ///
    /// A number may hold that of the next loss, too: where the reader is suspended
    /// just after taking the last event before a loss, and the queue is filled and
    /// overrun again meanwhile. A loss is never told later than it happened.
    Lost(u64),
    /// Bytes that cannot be read; the datagram is left out.
    Unreadable(DecodeError),
}

/// A subscription: one socket, which never waits.
#[derive(Debug)]
pub struct Events {
    listener: Listener,
    /// Those that were joined.
    groups: Vec<u32>,
    buffer: Buffer,
    losses: Losses,
    /// What is missing after the datagram that is being read.
    missing: Option<u64>,
    /// The bytes of the last datagram, and where its next message begins.
    datagram: (usize, usize),
    /// Where the last message begins.
    message: usize,
}

impl Events {
    /// Subscribes in `netns`, which is held. The queue has its size and its filter
    /// before the first event can come.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_ADMIN in the namespace; `EINVAL` for a filter that
    /// the kernel does not take; the namespace cannot be entered.
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

    /// The namespace, kept open.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        self.listener.netns()
    }

    /// The size of the queue, and what became of the wish for it.
    #[must_use]
    pub fn buffer(&self) -> Buffer {
        self.buffer
    }

    /// Ends the subscription: nothing more is queued, or refused and counted, once this
    /// returns. What is queued stays to be read, so an end is reached: all that was
    /// sent until now has been received or told as lost when [`Step::Empty`] comes.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn leave(&mut self) -> Result<(), Error> {
        std::mem::take(&mut self.groups).into_iter().try_for_each(|group| self.listener.leave(group))
    }

    /// Makes the queue larger; what is queued stays. Never makes it smaller.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn grow(&mut self, bytes: usize) -> Result<Buffer, Error> {
        if bytes > self.buffer.got / 2 {
            self.buffer = size(&self.listener, bytes)?;
        }
        Ok(self.buffer)
    }

    /// What the queue holds now. A look also counts what was refused, which the kernel does with
    /// 32 bits: whoever does not read for hours should look from time to time.
    ///
    /// # Errors
    /// What getsockopt(2) says.
    pub fn queue(&self) -> Result<Queue, Error> {
        let MemInfo { used, capacity, drops } = self.listener.meminfo()?;
        self.losses.see(drops);
        Ok(Queue { used, capacity, drops })
    }

    /// Takes the next event from the queue into `event`, and never waits.
    ///
    /// # Errors
    /// The socket does not work.
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

    /// Takes a datagram, or says why there is none.
    #[inline]
    fn receive(&mut self) -> Result<Option<Step>, Error> {
        // While the place of a loss is sought, the queue is looked at after each datagram.
        let received = self.listener.receive(!self.losses.are_pending())?;
        let look = || self.listener.meminfo();
        match received {
            Received::Datagram(length) => {
                self.missing = self.losses.taken(length, look)?;
                self.datagram = (length, 0);
            }
            Received::Overrun => self.losses.announced(look)?,
            Received::Empty => match self.losses.at_the_end(look)? {
                End::Complete => return Ok(Some(Step::Empty)),
                End::Lost(lost) => return Ok(Some(Step::Lost(lost))),
                End::Refilled => {}
            },
        }
        Ok(None)
    }

    /// The message that the last step was about.
    #[must_use]
    pub fn message(&self) -> Option<Message<'_>> {
        let datagram = self.listener.datagram(self.datagram.0);
        Messages::new(datagram.get(self.message..)?).next()?.ok()
    }

    /// Reads the next message of the datagram; None for one of no known kind. The
    /// kernel puts one event into a datagram, but nothing says that it must.
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

/// The message at `at` of a datagram of `length` bytes, of which `bytes` were kept.
fn message_at(bytes: &[u8], length: usize, at: usize) -> Option<Result<Message<'_>, DecodeError>> {
    let cut_off = DecodeError { kind: DecodeErrorKind::Truncated, attribute: None, offset: at };
    let message = Messages::new(bytes.get(at..).unwrap_or_default()).next();
    message.or_else(|| (bytes.len() < length).then_some(Err(cut_off)))
}

/// Sets the size of the queue.
fn size(listener: &Listener, asked: usize) -> Result<Buffer, Error> {
    let asked = asked.min(Listener::LARGEST);
    let forced = listener.set_capacity(asked)?;
    let rmem_max = Sysctl::at(Sysctl::CORE).read("rmem_max").ok();
    Ok(Buffer { asked, got: listener.capacity()?, forced, rmem_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of 20 bytes: a header and a netfilter header.
    const MESSAGE: [u8; 20] = [20, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_datagram_that_was_cut_off_between_two_messages_is_not_taken_for_whole() {
        assert!(message_at(&MESSAGE, 20, 0).is_some_and(|message| message.is_ok()));
        assert!(message_at(&MESSAGE, 20, 20).is_none());
        let rest = message_at(&MESSAGE, 40, 20);
        assert!(rest.is_some_and(|rest| rest.is_err_and(|error| error.kind == DecodeErrorKind::Truncated)));
    }
}
