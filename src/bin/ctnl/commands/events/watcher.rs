//! The namespaces of the host as they come and go, watched on a thread of its own: a
//! look takes too long for the thread that receives.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result};
use ctnl::netlink::Netns;
use ctnl::table::Buffer;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::opener::{Opener, tell_start};
use crate::console::Console;
use crate::follow::{Change, Stream};
use crate::namespaces::{LOOK_EVERY, Namespace, Namespaces};

/// What the watching thread has seen.
#[derive(Debug)]
enum Seen {
    Change(Change),
    Opened { name: String, netns: Netns, buffer: Buffer },
    Failed(String),
}

/// Watches namespaces.
#[derive(Debug)]
pub struct Watcher {
    seen: Receiver<Seen>,
}

/// What the watching thread works with.
#[derive(Debug)]
pub struct Unstarted {
    watcher: Watcher,
    namespaces: Namespaces,
    opener: Opener,
    report: Sender<Seen>,
}

impl Watcher {
    /// As many open files as may be: a namespace takes five, and the usual limit is 1024.
    fn raise_limit(console: &mut Console) {
        let raised = getrlimit(Resource::RLIMIT_NOFILE)
            .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most).map(|()| most));
        match raised {
            Ok(most) => console.detail(&format!("open files: up to {most}, for some {} namespaces", most / 5)),
            Err(errno) => console.note(&format!("the limit of open files stays as it is: {errno}")),
        }
    }

    /// The streams of the namespaces that there are, and who will watch for those to come.
    pub fn look(opener: Opener, console: &mut Console) -> Result<(Vec<Stream>, Unstarted)> {
        Self::raise_limit(console);
        let mut namespaces = Namespaces::new("/proc");
        let (report, seen) = channel();
        look(&mut namespaces, &opener, &report).context("look for network namespaces")?;
        if namespaces.unreadable() > 0 {
            let count = namespaces.unreadable();
            console.note(&format!("the namespaces of {count} processes may not be read (that takes CAP_SYS_PTRACE)"));
        }
        let watcher = Watcher { seen };
        let mut streams = Vec::new();
        for change in watcher.changes(console) {
            if let Change::Appeared(stream) = change {
                streams.push(*stream);
            }
        }
        Ok((streams, Unstarted { watcher, namespaces, opener, report }))
    }

    /// Watches from now on.
    pub fn start(unstarted: Unstarted) -> Result<Self> {
        let Unstarted { watcher, mut namespaces, opener, report } = unstarted;
        thread::Builder::new().name("namespaces".into()).spawn(move || {
            loop {
                thread::sleep(LOOK_EVERY);
                if let Err(error) = look(&mut namespaces, &opener, &report)
                    && report.send(Seen::Failed(format!("look for network namespaces: {error}"))).is_err()
                {
                    break;
                }
            }
        })?;
        Ok(watcher)
    }

    /// What has changed since it was asked last.
    pub fn changes(&self, console: &mut Console) -> Vec<Change> {
        let mut changes = Vec::new();
        for seen in self.seen.try_iter() {
            match seen {
                Seen::Change(change) => changes.push(change),
                Seen::Opened { name, netns, buffer } => tell_start(console, &netns, Some(&name), buffer),
                Seen::Failed(words) => console.warn(&words),
            }
        }
        changes
    }
}

/// Looks once, and opens what is new.
fn look(namespaces: &mut Namespaces, opener: &Opener, report: &Sender<Seen>) -> std::io::Result<()> {
    let changes = namespaces.refresh()?;
    // Nobody to report to: the stream is over.
    let tell = |seen| drop(report.send(seen));
    for namespace in changes.vanished {
        tell(Seen::Change(Change::Vanished(namespace.inode)));
    }
    for (_, namespace) in changes.renamed {
        tell(Seen::Change(Change::Renamed(namespace.inode, namespace.name.to_string())));
    }
    for namespace in changes.appeared {
        match open(&namespace, opener) {
            Ok((stream, netns)) => {
                let (name, buffer) = (namespace.name.to_string(), stream.buffer());
                tell(Seen::Opened { name, netns, buffer });
                tell(Seen::Change(Change::Appeared(Box::new(stream))));
            }
            Err(error) => {
                tell(Seen::Failed(format!("{}: {error:#}", namespace.name)));
                namespaces.forget(namespace.inode);
            }
        }
    }
    Ok(())
}

fn open(namespace: &Namespace, opener: &Opener) -> Result<(Stream, Netns)> {
    let netns = namespace.open()?;
    let stream = opener.open(&netns, Some(namespace.name.to_string()))?;
    Ok((stream.numbered(namespace.inode), netns))
}
