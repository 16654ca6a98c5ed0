//! Finds the network namespaces of the host as they appear and vanish, on a thread of its own:
//! reading /proc takes too long for the thread that receives.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};

use super::deletion::DeletionPoller;
use super::opener::Opener;
use super::poll::{Poll, PollerMessage};
use super::starts::{Start, StartReport};
use crate::follow::{NamespaceChange, NamespaceStream};
use crate::host::namespaces::{KeptNamespace, Namespace, Namespaces, POLL_INTERVAL, has_vanished};
use crate::term::console::Console;
use crate::term::limits::raise_open_files;

/// File descriptors that a followed namespace needs, two of them for heartbeats.
const DESCRIPTORS: u64 = 8;

/// Receives the messages of the polling thread.
#[derive(Debug)]
pub struct NamespaceMonitor {
    messages: Receiver<PollerMessage>,
    starts: StartReport,
    /// The thread. It ends when the sender is dropped.
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

/// A monitor whose thread is not started yet.
#[derive(Debug)]
pub struct UnstartedMonitor {
    monitor: NamespaceMonitor,
    poller: Box<dyn Poll>,
    /// For what fails.
    errors: Sender<PollerMessage>,
}

/// Polls the namespaces, and opens the stream of each new one.
#[derive(Debug)]
struct NamespacePoller {
    namespaces: Namespaces,
    opener: Opener,
    messages: Sender<PollerMessage>,
    failures: Failures,
}

/// Namespaces that the last poll could not open: the error, and whether it was reported.
#[derive(Debug, Default)]
struct Failures(BTreeMap<u64, (String, bool)>);

impl Failures {
    /// Adds one. Whether it is to be reported: once, and if the namespace has vanished since the scan, only if
    /// the next scan finds it again. A process of short life is not worth a message.
    fn add(&mut self, earlier: &Self, inode: u64, message: &str, has_vanished: bool) -> bool {
        let before = earlier.0.get(&inode).filter(|(before, _)| before == message);
        let was_reported = before.is_some_and(|(_, was_reported)| *was_reported);
        let is_meant = before.is_some() || !has_vanished;
        self.0.insert(inode, (message.to_owned(), is_meant));
        is_meant && !was_reported
    }
}

impl NamespaceMonitor {
    /// Opens the streams of the namespaces that exist.
    ///
    /// # Errors
    /// /proc cannot be read; no namespace can be followed.
    pub fn open(opener: Opener, console: &mut Console) -> Result<(Vec<NamespaceStream>, UnstartedMonitor)> {
        raise_descriptor_limit(console);
        let (sender, messages) = channel();
        let errors = sender.clone();
        let namespaces = Namespaces::new(opener.host.proc());
        let mut poller = NamespacePoller { namespaces, opener, messages: sender, failures: Failures::default() };
        poller.poll().context("find the network namespaces")?;
        if poller.namespaces.unreadable() > 0 {
            let count = poller.namespaces.unreadable();
            console.note(&format!("cannot read the namespaces of {count} processes (needs CAP_SYS_PTRACE)"));
        }
        let mut monitor = NamespaceMonitor { messages, starts: StartReport::default(), thread: None };
        let mut streams = Vec::new();
        for change in monitor.changes(console) {
            if let NamespaceChange::Appeared(stream) = change {
                streams.push(*stream);
            }
        }
        if streams.is_empty() {
            bail!(
                "no network namespace can be followed: --all-netns needs CAP_NET_ADMIN, CAP_SYS_ADMIN and \
                 CAP_SYS_PTRACE\n  hint: run it as root, or follow one namespace without --all-netns"
            );
        }
        Ok((streams, UnstartedMonitor { monitor, poller: Box::new(poller), errors }))
    }

    /// Watches one namespace, which is kept open.
    pub fn of_one(namespace: KeptNamespace) -> UnstartedMonitor {
        let (sender, messages) = channel();
        let monitor = NamespaceMonitor { messages, starts: StartReport::default(), thread: None };
        let errors = sender.clone();
        UnstartedMonitor { monitor, poller: Box::new(DeletionPoller::new(namespace, sender)), errors }
    }

    /// Starts the polling thread.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(unstarted: UnstartedMonitor) -> Result<Self> {
        let UnstartedMonitor { mut monitor, mut poller, errors } = unstarted;
        let (running, until_dropped) = channel::<()>();
        let thread = thread::Builder::new().name("namespaces".into()).spawn(move || {
            let mut reported = None;
            while until_dropped.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let failed = poller.poll().err().map(|error| format!("cannot find the network namespaces: {error}"));
                if let Some(message) = failed.as_ref().filter(|_| failed != reported) {
                    // An error means that the stream has ended.
                    drop(errors.send(PollerMessage::Failed(message.clone())));
                }
                reported = failed;
            }
        });
        monitor.thread = Some((running, thread.context("start the thread that finds network namespaces")?));
        Ok(monitor)
    }

    /// The changes since the last call.
    pub fn changes(&mut self, console: &mut Console) -> Vec<NamespaceChange> {
        let (mut changes, mut starts) = (Vec::new(), Vec::new());
        for message in self.messages.try_iter() {
            match message {
                PollerMessage::Change(change) => changes.push(change),
                PollerMessage::Opened(start) => starts.push(start),
                PollerMessage::Failed(message) => console.warn(&message),
            }
        }
        self.starts.print(console, &starts);
        changes
    }
}

impl Drop for NamespaceMonitor {
    fn drop(&mut self) {
        if let Some((running, thread)) = self.thread.take() {
            drop(running);
            // A panic of the thread was printed by its hook.
            let _ = thread.join();
        }
    }
}

/// Raises the limit of open files.
fn raise_descriptor_limit(console: &mut Console) {
    match raise_open_files() {
        Ok(limit) => console.detail(&format!("open files: limit {limit}, for {} namespaces", limit / DESCRIPTORS)),
        Err(errno) => console.note(&format!("cannot raise the limit of open files: {errno}")),
    }
}

impl Poll for NamespacePoller {
    /// Also opens the new namespaces.
    fn poll(&mut self) -> io::Result<()> {
        let changes = self.namespaces.refresh()?;
        for namespace in changes.vanished {
            self.send(PollerMessage::Change(NamespaceChange::Vanished(namespace.inode)));
        }
        if !changes.renamed.is_empty() {
            let names = changes.renamed.iter().map(|(_, namespace)| (namespace.inode, namespace.name.to_string()));
            self.send(PollerMessage::Change(NamespaceChange::Renamed(names.collect())));
        }
        // One that cannot be opened is removed from the set, so that every poll finds it again.
        let earlier = std::mem::take(&mut self.failures);
        for namespace in changes.appeared {
            if let Err(error) = self.open(&namespace) {
                let message = format!("{}: {error:#}", namespace.name);
                if self.failures.add(&earlier, namespace.inode, &message, has_vanished(&error)) {
                    self.send(PollerMessage::Failed(message));
                }
                self.namespaces.forget(namespace.inode);
            }
        }
        Ok(())
    }
}

impl NamespacePoller {
    fn open(&self, namespace: &Namespace) -> Result<()> {
        let netns = namespace.open()?;
        let name = namespace.name.to_string();
        let stream = self.opener.open(&netns, Some(name.clone()))?.with_inode(namespace.inode);
        let start = Start::read(&self.opener.host, &netns, name, stream.buffer());
        self.send(PollerMessage::Opened(start));
        self.send(PollerMessage::Change(NamespaceChange::Appeared(Box::new(stream))));
        Ok(())
    }

    fn send(&self, message: PollerMessage) {
        // An error means that the stream has ended.
        drop(self.messages.send(message));
    }
}

#[cfg(test)]
mod tests {
    use ctnl::netlink::Error;
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_namespace_that_cannot_be_opened_is_reported_once_and_one_that_has_vanished_only_if_it_is_found_again() {
        let mut earlier = Failures::default();
        for expected in [[false, true], [true, false], [false, false]] {
            let mut failures = Failures::default();
            let reported = [("no such file", true), ("no permission", false)]
                .map(|(message, vanished)| failures.add(&earlier, message.len() as u64, message, vanished));
            assert_eq!(reported, expected);
            earlier = failures;
        }
        assert!(Failures::default().add(&earlier, 13, "another error", false));
        let gone = Error::Netns { path: "x".into(), errno: Errno::ENOENT };
        assert!(has_vanished(&gone.into()) && !has_vanished(&anyhow::anyhow!("x")));
    }
}
