//! Where events come from: the kernel, or a test.

use std::fmt::Debug;
use std::os::fd::{AsFd, BorrowedFd};

use ctnl::model::Event;
use ctnl::netlink::Error;
use ctnl::table::{Buffer, Events, Queue, Step};
use ctnl::wire::Message;

/// A subscription.
pub trait Source: Debug + Send {
    /// Takes the next event, and never waits.
    fn next(&mut self, event: &mut Event) -> Result<Step, Error>;

    /// The message that the last step was about.
    fn message(&self) -> Option<Message<'_>>;

    /// What is queued.
    fn queue(&self) -> Result<Queue, Error>;

    /// The size of the queue.
    fn buffer(&self) -> Buffer;

    /// Makes the queue larger.
    fn grow(&mut self, bytes: usize) -> Result<Buffer, Error>;

    /// Ends the subscription. What is queued stays to be read.
    fn leave(&mut self) -> Result<(), Error>;

    /// What to wait for.
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

    fn leave(&mut self) -> Result<(), Error> {
        Events::leave(self)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}
