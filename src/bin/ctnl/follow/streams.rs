//! The streams of all namespaces, and which of them have something to read (epoll(7)).
//!
//! Reading an empty queue takes two system calls. Where each queue was read in each turn, 1,000 events a
//! second in one of 300 namespaces took 14 % of a processor on a busy machine, and 30 % on an idle one; now
//! 2.7 %, as with one namespace (benches/README.md, `namespaces`).

use std::time::Duration;

use ctnl::netlink::Error;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::namespace::NamespaceStream;

/// What was read of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRead {
    /// All of it.
    pub is_empty: bool,
    /// The others are not to be read now.
    pub is_last: bool,
}

/// The streams. One that is taken out for a pass keeps its place.
#[derive(Debug)]
pub struct Streams {
    slots: Vec<Slot>,
    /// The places of those whose `is_ready` is set.
    ready: Vec<usize>,
    epoll: Epoll,
    /// As many as there are slots, so that one call reports every queue that is not empty.
    events: Vec<EpollEvent>,
    /// A time before the last call that reported the queues. Ns of `CLOCK_REALTIME`.
    polled_at: u64,
    /// That call has waited, and has reported a queue: another one before the next turn shows nothing new.
    is_fresh: bool,
}

#[derive(Debug)]
struct Slot {
    stream: Option<Box<NamespaceStream>>,
    /// The stream has been taken out, and will be put back or removed.
    is_taken: bool,
    /// Its queue may have something: it was reported, and has not been read empty since.
    is_ready: bool,
    /// Its socket is watched; otherwise it is read in each turn.
    is_watched: bool,
}

impl Streams {
    /// No streams.
    ///
    /// # Errors
    /// An error of epoll_create1(2).
    pub fn new() -> Result<Self, Error> {
        let epoll =
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|errno| failed("create an epoll set", errno))?;
        // epoll_wait(2) needs space for one.
        let events = vec![EpollEvent::empty()];
        Ok(Streams { slots: Vec::new(), ready: Vec::new(), epoll, events, polled_at: 0, is_fresh: false })
    }

    /// Adds a stream. It is read in the next turn.
    ///
    /// # Errors
    /// An error of epoll_ctl(2): the stream is not added.
    pub fn add(&mut self, stream: Box<NamespaceStream>) -> Result<(), Error> {
        let free = self.slots.iter().position(|slot| slot.stream.is_none() && !slot.is_taken);
        let place = free.unwrap_or(self.slots.len());
        let is_watched = match stream.source.descriptor() {
            Some(descriptor) => {
                // Level-triggered. An error of the socket (ENOBUFS) is reported in any case.
                let event = EpollEvent::new(EpollFlags::EPOLLIN, place as u64);
                self.epoll.add(descriptor, event).map_err(|errno| failed("watch a netlink socket", errno))?;
                true
            }
            None => false,
        };
        let slot = Slot { stream: Some(stream), is_taken: false, is_ready: false, is_watched };
        match self.slots.get_mut(place) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        self.events.resize(self.slots.len().max(1), EpollEvent::empty());
        self.ready.retain(|ready| *ready != place);
        self.mark(place, None);
        Ok(())
    }

    /// The streams, without one that is taken out.
    pub fn iter(&self) -> impl Iterator<Item = &NamespaceStream> {
        self.slots.iter().filter_map(|slot| slot.stream.as_deref())
    }

    /// The same.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut NamespaceStream> {
        self.slots.iter_mut().filter_map(|slot| slot.stream.as_deref_mut())
    }

    /// Takes the first of these out, and returns its place.
    pub fn take(&mut self, which: impl Fn(&NamespaceStream) -> bool) -> Option<(usize, Box<NamespaceStream>)> {
        let is_meant = |slot: &Slot| slot.stream.as_deref().is_some_and(&which);
        let place = self.slots.iter().position(is_meant)?;
        let slot = self.slots.get_mut(place)?;
        slot.set_empty_at(self.polled_at);
        let stream = slot.stream.take()?;
        slot.is_taken = true;
        Some((place, stream))
    }

    /// Puts a stream back. It is read in the next turn, since what was reported of it meanwhile is not known.
    pub fn put_back(&mut self, place: usize, stream: Box<NamespaceStream>) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.stream = Some(stream);
            slot.is_taken = false;
        }
        self.mark(place, None);
    }

    /// The stream that was taken out there is not put back.
    pub fn remove(&mut self, place: usize) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.is_taken = false;
        }
    }

    /// The streams, which are to be read whether or not something was reported of them.
    pub fn all_at_the_end(&mut self) -> impl Iterator<Item = &mut NamespaceStream> {
        self.slots.iter_mut().for_each(|slot| slot.set_empty_at(self.polled_at));
        self.iter_mut()
    }

    /// Waits until a queue is not empty, a signal arrives or the time has passed; `now` is the time before.
    pub fn wait(&mut self, now: u64, time: Duration) {
        self.is_fresh = self.poll(now, time);
    }

    /// Calls `read` once for each queue that is not empty; `now` is the time before.
    ///
    /// # Errors
    /// The first error of `read`.
    pub fn read_each<E>(
        &mut self,
        now: u64,
        mut read: impl FnMut(&mut NamespaceStream) -> Result<QueueRead, E>,
    ) -> Result<(), E> {
        if !std::mem::take(&mut self.is_fresh) {
            self.poll(now, Duration::ZERO);
        }
        let mut ready = std::mem::take(&mut self.ready).into_iter();
        for place in ready.by_ref() {
            let Some(slot) = self.slots.get_mut(place) else { continue };
            let Some(stream) = slot.stream.as_deref_mut() else {
                slot.is_ready = false;
                continue;
            };
            let read = read(stream)?;
            slot.is_ready = !(slot.is_watched && read.is_empty);
            if slot.is_ready {
                self.ready.push(place);
            }
            if read.is_last {
                break;
            }
        }
        self.ready.extend(ready);
        Ok(())
    }

    /// Marks the queues that are not empty. Whether there are any.
    fn poll(&mut self, now: u64, time: Duration) -> bool {
        // Rounded up: a timeout of 0 ms does not wait.
        let time = EpollTimeout::try_from(time + Duration::from_micros(999)).unwrap_or(EpollTimeout::MAX);
        // EINTR: the caller checks for signals, and polls again.
        let Ok(count) = self.epoll.wait(&mut self.events, time) else { return false };
        let earlier = std::mem::replace(&mut self.polled_at, now);
        for number in 0..count {
            let place = self.events.get(number).map(EpollEvent::data);
            if let Some(place) = place.and_then(|place| usize::try_from(place).ok()) {
                self.mark(place, Some(earlier));
            }
        }
        count > 0
    }

    /// Its queue is to be read. Where it was reported now and not at the time `empty_at`, it was empty then.
    fn mark(&mut self, place: usize, empty_at: Option<u64>) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        if let Some(at) = empty_at {
            slot.set_empty_at(at);
        }
        if !std::mem::replace(&mut slot.is_ready, true) {
            self.ready.push(place);
        }
    }
}

impl Slot {
    /// At this time the queue was polled. Unless it was reported, and has not been read since, it was empty.
    fn set_empty_at(&mut self, polled_at: u64) {
        if let Some(stream) = self.stream.as_deref_mut().filter(|_| self.is_watched && !self.is_ready) {
            stream.complete_until = stream.complete_until.max(polled_at);
        }
    }
}

fn failed(operation: &'static str, errno: Errno) -> Error {
    Error::Socket { operation, errno }
}
