//! What the event loop needs from its host, as a trait: tests replace it.

use std::thread;
use std::time::Duration;

use ctnl::clock::{Clock, Time};
use ctnl::metrics::StreamSnapshot;
use ctnl::netlink::Error;
use ctnl::output::{ResyncRecord, SinkState};
use ctnl::table::Buffer;

use super::namespace::NamespaceStream;
use super::streams::Streams;

/// A network namespace has appeared, vanished or got another name.
#[derive(Debug)]
pub enum NamespaceChange {
    /// A new namespace, with its open stream.
    Appeared(Box<NamespaceStream>),
    /// The namespace with this inode number has vanished, and its entries with it. Names can
    /// be reused; the number identifies it.
    Vanished(u64),
    /// The namespaces with these inode numbers have these names now. They were found together: two may
    /// have swapped their names.
    Renamed(Vec<(u64, String)>),
}

/// An occurrence that is reported to the user or the service manager.
#[derive(Debug)]
pub enum Notification<'a> {
    /// All namespaces are subscribed: every event from now on is in the stream.
    Ready,
    /// A queue has grown.
    Grown {
        /// The namespace, where there are several.
        netns: Option<&'a str>,
        /// Its size now.
        buffer: Buffer,
    },
    /// The stream ends: what is queued is being written.
    Ending,
    /// The kernel has lost this many events; `None` where it did not count them.
    Lost(Option<u64>),
    /// The live set has entries of which no event was received: they may end without an event.
    Silent {
        /// The namespace, where there are several.
        netns: Option<&'a str>,
        /// Their number.
        entries: usize,
    },
    /// The kernel sends no events of entries that are created from now on (`nf_conntrack_events` is 0), or
    /// sends them again.
    Switched {
        /// The namespace, where there are several.
        netns: Option<&'a str>,
        /// Whether it sends none.
        is_off: bool,
    },
    /// A dump has been compared with the live set.
    Resynced(&'a ResyncRecord<'a>),
    /// A dump has failed; it will be repeated.
    PassFailed {
        /// The namespace, where there are several.
        netns: Option<&'a str>,
        /// The error.
        error: &'a Error,
    },
    /// A namespace has another name.
    Renamed {
        /// Its name until now.
        from: Option<&'a str>,
        /// Its name from now on.
        to: &'a str,
    },
    /// The socket of one namespace of several has failed; the namespace is not followed any more.
    Failed {
        /// The namespace.
        netns: &'a str,
        /// The error.
        error: &'a Error,
    },
    /// The kernel's hash table was resized during a dump; the dump is repeated.
    Resized,
    /// The interval of the statistics has passed.
    Stats(&'a StreamSnapshot),
    /// That of the status of the service has.
    Status(&'a StreamSnapshot),
}

/// The host of an event loop.
pub trait Environment {
    /// The clock.
    fn clock(&self) -> Clock;

    /// The time now.
    fn now(&mut self) -> Time {
        self.clock().now()
    }

    /// The reason to end, if there is one. Called several times a second in every state, also
    /// while no chunk can be written: work that may not wait belongs here.
    fn stop(&mut self) -> Option<&'static str>;

    /// The longest time between two calls of [`Environment::stop`], where it is limited.
    fn longest_wait(&self) -> Option<Duration> {
        None
    }

    /// The time between two reports of the status, where a service manager shows it.
    fn status_interval(&self) -> Option<Duration> {
        None
    }

    /// The changes of namespaces since the last call. Called several times a second, but not
    /// during a dump.
    fn changes(&mut self) -> Vec<NamespaceChange>;

    /// The state of the sinks, for the heartbeat record.
    fn sinks(&mut self) -> Vec<SinkState> {
        Vec::new()
    }

    /// Reports an occurrence.
    fn notify(&mut self, notification: Notification<'_>);

    /// Nanoseconds of `CLOCK_REALTIME`.
    fn realtime(&mut self) -> u64 {
        self.now().realtime.0
    }

    /// `CLOCK_MONOTONIC`.
    fn monotonic(&mut self) -> Duration {
        self.now().monotonic.into()
    }

    /// Sleeps.
    fn sleep(&mut self, time: Duration) {
        thread::sleep(time);
    }

    /// Waits until a queue is not empty, a signal arrives or the time has passed.
    fn wait(&mut self, streams: &mut Streams, time: Duration) {
        let now = self.realtime();
        streams.wait(now, time);
    }
}
