//! The source of events: the kernel, or a test.

use std::fmt::Debug;
use std::os::fd::{AsFd, BorrowedFd};

use ctnl::model::Event;
use ctnl::netlink::Error;
use ctnl::table::{Buffer, Events, Queue, Step};
use ctnl::wire::Message;

/// A subscription.
pub trait Source: Debug + Send {
    /// Receives the next event. Never blocks.
    fn next(&mut self, event: &mut Event) -> Result<Step, Error>;

    /// The message of the last step.
    fn message(&self) -> Option<Message<'_>>;

    /// The state of the queue.
    fn queue(&self) -> Result<Queue, Error>;

    /// The size of the queue.
    fn buffer(&self) -> Buffer;

    /// Enlarges the queue.
    fn grow(&mut self, bytes: usize) -> Result<Buffer, Error>;

    /// Ends the subscription. Queued events stay to be received.
    fn unsubscribe(&mut self) -> Result<(), Error>;

    /// The descriptor to wait for.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

impl Source for Events {
    #[inline]
    fn next(&mut self, event: &mut Event) -> Result<Step, Error> {
        Events::next(self, event)
    }

    fn message(&self) -> Option<Message<'_>> {
        Events::message(self)
    }

    fn queue(&self) -> Result<Queue, Error> {
        Events::queue(self)
    }

    fn buffer(&self) -> Buffer {
        Events::buffer(self)
    }

    fn grow(&mut self, bytes: usize) -> Result<Buffer, Error> {
        Events::grow(self, bytes)
    }

    fn unsubscribe(&mut self) -> Result<(), Error> {
        Events::unsubscribe(self)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}
