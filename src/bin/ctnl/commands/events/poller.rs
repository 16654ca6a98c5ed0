//! The namespaces of the host as they come and go, watched on a thread of its own: a
//! look takes too long for the thread that receives.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use ctnl::netlink::Netns;
use ctnl::table::Buffer;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::opener::{Opener, tell_start};
use crate::follow::{Change, Stream};
use crate::host::event_sysctls::Settings;
use crate::host::namespaces::{LOOK_EVERY, Namespace, Namespaces};
use crate::term::console::Console;

/// What the watching thread has seen.
#[derive(Debug)]
enum Seen {
    Change(Change),
    Opened(Opened),
    Failed(String),
}

/// A namespace that is followed from now on.
#[derive(Debug)]
struct Opened {
    inode: u64,
    name: String,
    netns: Netns,
    buffer: Buffer,
    settings: Option<Settings>,
}

/// Watches namespaces.
#[derive(Debug)]
pub struct Watcher {
    seen: Receiver<Seen>,
    /// What was set in each, to be set back.
    settings: BTreeMap<u64, (String, Settings)>,
    /// The thread, which ends when the other end of the channel goes.
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

/// What the watching thread works with.
#[derive(Debug)]
pub struct Unstarted {
    watcher: Watcher,
    poller: Poller,
}

/// Looks for namespaces.
#[derive(Debug)]
struct Poller {
    namespaces: Namespaces,
    opener: Opener,
    report: Sender<Seen>,
    /// Those that cannot be followed, with what was said of it.
    failed: BTreeMap<u64, String>,
}

impl Watcher {
    /// As many open files as may be: a namespace takes five, with settings nine, and the usual
    /// limit is 1024.
    fn raise_limit(opener: &Opener, console: &mut Console) {
        let raised = getrlimit(Resource::RLIMIT_NOFILE)
            .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most).map(|()| most));
        let each = if opener.sets_sysctls { 9 } else { 5 };
        match raised {
            Ok(most) => console.detail(&format!("open files: up to {most}, for some {} namespaces", most / each)),
            Err(errno) => console.note(&format!("the limit of open files stays as it is: {errno}")),
        }
    }

    /// The streams of the namespaces that there are, and who will watch for those to come.
    ///
    /// # Errors
    /// None of them can be followed.
    pub fn look(opener: Opener, console: &mut Console) -> Result<(Vec<Stream>, Unstarted)> {
        Self::raise_limit(&opener, console);
        let (report, seen) = channel();
        let mut poller = Poller { namespaces: Namespaces::new("/proc"), opener, report, failed: BTreeMap::new() };
        poller.look().context("look for network namespaces")?;
        if poller.namespaces.unreadable() > 0 {
            let count = poller.namespaces.unreadable();
            console.note(&format!("the namespaces of {count} processes may not be read (that takes CAP_SYS_PTRACE)"));
        }
        let mut watcher = Watcher { seen, settings: BTreeMap::new(), thread: None };
        let mut streams = Vec::new();
        for change in watcher.changes(console) {
            if let Change::Appeared(stream) = change {
                streams.push(*stream);
            }
        }
        if streams.is_empty() {
            bail!(
                "none of the network namespaces can be followed (--all-netns takes CAP_NET_ADMIN, CAP_SYS_ADMIN and \
                 CAP_SYS_PTRACE)\n  hint: run it as root, or follow one namespace without --all-netns"
            );
        }
        Ok((streams, Unstarted { watcher, poller }))
    }

    /// Watches from now on.
    pub fn start(unstarted: Unstarted) -> Result<Self> {
        let Unstarted { mut watcher, mut poller } = unstarted;
        let (goes_on, until_gone) = channel::<()>();
        let thread = thread::Builder::new().name("namespaces".into()).spawn(move || {
            while until_gone.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = poller.look() {
                    poller.tell(Seen::Failed(format!("look for network namespaces: {error}")));
                }
            }
        })?;
        watcher.thread = Some((goes_on, thread));
        Ok(watcher)
    }

    /// What has changed since it was asked last.
    pub fn changes(&mut self, console: &mut Console) -> Vec<Change> {
        let mut changes = Vec::new();
        for seen in self.seen.try_iter() {
            match seen {
                Seen::Change(change) => {
                    if let Change::Vanished(inode) = change {
                        self.settings.remove(&inode);
                    }
                    changes.push(change);
                }
                Seen::Opened(Opened { inode, name, netns, buffer, settings }) => {
                    tell_start(console, &netns, Some(&name), buffer);
                    self.settings.extend(settings.map(|settings| (inode, (name, settings))));
                }
                Seen::Failed(words) => console.warn(&words),
            }
        }
        changes
    }

    /// Ends. What was set, by the names of the namespaces.
    pub fn into_settings(mut self, console: &mut Console) -> impl Iterator<Item = (String, Settings)> + use<> {
        if let Some((goes_on, thread)) = self.thread.take() {
            drop(goes_on);
            // It panics only where this program is wrong, and that was said then.
            let _ = thread.join();
        }
        // What it was just about to tell.
        self.changes(console);
        self.settings.into_values()
    }
}

impl Poller {
    /// Looks once, and opens what is new.
    fn look(&mut self) -> io::Result<()> {
        let changes = self.namespaces.refresh()?;
        for namespace in changes.vanished {
            self.tell(Seen::Change(Change::Vanished(namespace.inode)));
        }
        for (_, namespace) in changes.renamed {
            self.tell(Seen::Change(Change::Renamed(namespace.inode, namespace.name.to_string())));
        }
        // One that cannot be opened is forgotten, and so appears at each look as long as it lives.
        let known = std::mem::take(&mut self.failed);
        for namespace in changes.appeared {
            if let Err(error) = self.open(&namespace) {
                let words = format!("{}: {error:#}", namespace.name);
                if known.get(&namespace.inode) != Some(&words) {
                    self.tell(Seen::Failed(words.clone()));
                }
                self.failed.insert(namespace.inode, words);
                self.namespaces.forget(namespace.inode);
            }
        }
        Ok(())
    }

    fn open(&self, namespace: &Namespace) -> Result<()> {
        let netns = namespace.open()?;
        let (inode, name) = (namespace.inode, namespace.name.to_string());
        let stream = self.opener.open(&netns, Some(name.clone()))?.numbered(inode);
        // Only where it is followed.
        let settings = self.opener.settings(&netns).unwrap_or_else(|error| {
            self.tell(Seen::Failed(format!("{name}: settings stay as they are: {error:#}")));
            None
        });
        self.tell(Seen::Opened(Opened { inode, name, netns, buffer: stream.buffer(), settings }));
        self.tell(Seen::Change(Change::Appeared(Box::new(stream))));
        Ok(())
    }

    fn tell(&self, seen: Seen) {
        // Nobody to report to: the stream is over, and what was set is set back as this is dropped.
        drop(self.report.send(seen));
    }
}
