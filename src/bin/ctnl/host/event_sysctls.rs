//! Floor 8, the settings of conntrack that the event stream lives on: which are not as
//! it wants them, what is missing then, setting them, and setting them back.
//!
//! A setting is kept open from the start, so that it can be set back from outside its
//! namespace and without the privilege to enter it; to the kernel CAP_NET_ADMIN is the
//! owner of a namespace's settings.
//!
//! Several processes at once share a file per namespace under `/run/ctnl`, with the
//! values from before the first of them. Everybody holds a shared lock on it; who can
//! turn it into an exclusive one is the last, and sets back. Locks end with their
//! process, so what one that was killed left behind is set back by the next.
//!
//! The file's name has the namespace's inode, which the kernel gives to another once it
//! is free. So each line says of which boot and which namespace it is, and those of
//! another are not believed. Before Linux 5.14 no namespace can be told from a later one
//! with its inode: a dead one's lines are believed only while everything is as it left it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ctnl::netlink::Netns;
use ctnl::sysctl::{Setting, Sysctl};
use nix::fcntl::{Flock, FlockArg};

/// What the stream wants all of them to be.
const WANTED: u64 = 1;

/// A setting that matters, with what its other values cost.
#[derive(Debug)]
struct Row {
    name: &'static str,
    /// Value, and what is missing with it.
    without: &'static [(u64, &'static str)],
    /// What is missing where the kernel has no such setting.
    absent: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        name: "nf_conntrack_events",
        without: &[
            (0, "the kernel sends no events at all"),
            (2, "entries from before anybody listened end without an event"),
        ],
        absent: "this kernel was built without events, or conntrack is not loaded yet",
    },
    Row {
        name: "nf_conntrack_acct",
        without: &[(0, "new connections have no packet and byte counts")],
        absent: "connections have no packet and byte counts",
    },
    Row {
        name: "nf_conntrack_timestamp",
        without: &[(0, "new connections have no start and stop time by the kernel, and so no exact duration")],
        absent: "connections have no start and stop time by the kernel, and so no exact duration",
    },
];

/// A setting that is not as the stream wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deviation {
    /// The file's name.
    pub name: &'static str,
    /// What it is; `None` where there is no such setting.
    pub value: Option<u64>,
    /// What is missing, in a sentence without its full stop.
    pub without: &'static str,
}

impl std::fmt::Display for Deviation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.value {
            Some(value) => write!(f, "{} is {value}: {}", self.name, self.without),
            None => write!(f, "there is no {}: {}", self.name, self.without),
        }
    }
}

/// The settings below `sysctl` that are not as the stream wants them.
///
/// # Errors
/// A setting that is there cannot be read.
pub fn deviations(sysctl: &Sysctl) -> Result<Vec<Deviation>> {
    let mut found = Vec::new();
    for row in ROWS {
        let value = match sysctl.read(row.name) {
            Ok(value) => Some(value),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("read {}", row.name)),
        };
        let without = match value {
            None => Some(row.absent),
            Some(value) => row.without.iter().find(|(bad, _)| *bad == value).map(|(_, without)| *without),
        };
        found.extend(without.map(|without| Deviation { name: row.name, value, without }));
    }
    Ok(found)
}

/// Which namespace this is, among all that ever were.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    boot: String,
    /// `None` where the kernel does not tell.
    cookie: Option<u64>,
}

impl Identity {
    fn of_this_thread() -> io::Result<Self> {
        let boot = Sysctl::at(Sysctl::KERNEL).read_text("random/boot_id")?;
        Ok(Identity { boot, cookie: Netns::current_cookie()? })
    }

    fn line(&self, name: &str, value: u64) -> String {
        format!("{name} {value} {self}\n")
    }

    /// The setting and the value of a line that is of this namespace.
    fn read(&self, line: &str) -> Option<(&'static str, u64)> {
        let (name, rest) = line.split_once(' ')?;
        let (value, whose) = rest.split_once(' ')?;
        let row = ROWS.iter().find(|row| row.name == name)?;
        (whose == self.to_string()).then_some((row.name, value.parse().ok()?))
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.cookie {
            Some(cookie) => write!(f, "{} {cookie}", self.boot),
            None => write!(f, "{} -", self.boot),
        }
    }
}

/// Settings that were set. They are set back by [`Settings::restore`], or when this is dropped.
#[derive(Debug)]
pub struct Settings {
    /// Those that can be set back, whoever set them.
    open: Vec<(&'static str, Setting)>,
    /// `None` once they are set back.
    shared: Option<Flock<File>>,
    identity: Identity,
}

/// What became of one setting at the end.
#[derive(Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is `value` again.
    Back { name: &'static str, value: u64 },
    /// Somebody else has set it to `value` since, and it stays so.
    Changed { name: &'static str, value: u64 },
    /// It could not be set back.
    Failed { name: &'static str, error: String },
}

impl std::fmt::Display for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Restored::Back { name, value } => write!(f, "{name} is {value} again"),
            Restored::Changed { name, value } => {
                write!(f, "{name} was set to {value} by somebody else meanwhile and stays so")
            }
            Restored::Failed { name, error } => write!(f, "{name} could not be set back: {error}"),
        }
    }
}

/// Where the settings of the calling thread's namespace are remembered: in the folder that
/// the service manager made, in `RUNTIME_DIRECTORY`, or `/run/ctnl`.
///
/// # Errors
/// It is not known which namespace this is.
pub fn note(runtime_directory: Option<&Path>) -> io::Result<PathBuf> {
    let netns = fs::read_link("/proc/thread-self/ns/net")?;
    Ok(runtime_directory.unwrap_or(Path::new("/run/ctnl")).join(format!("sysctl-{}", netns.display())))
}

/// Sets what is not as the stream wants it, and remembers it in `note`, a file of this
/// namespace alone. To be called inside the namespace.
///
/// # Errors
/// A setting may not be written, or `note` cannot be: then nothing stays set.
pub fn set(sysctl: &Sysctl, note: &Path) -> Result<Settings> {
    let identity = Identity::of_this_thread().context("find out which network namespace this is")?;
    set_as(identity, sysctl, note)
}

fn set_as(identity: Identity, sysctl: &Sysctl, note: &Path) -> Result<Settings> {
    let (file, was_alone) = join(note).with_context(|| format!("remember settings in {}", note.display()))?;
    let mut settings = Settings { open: Vec::new(), shared: Some(file), identity };
    if was_alone {
        settings.forget_what_is_over(sysctl)?;
    }
    for row in ROWS {
        match sysctl.open(row.name) {
            Ok(setting) => settings.turn_on(row.name, setting)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("open {} for writing", row.name)),
        }
    }
    settings.lock(FlockArg::LockShared)?;
    Ok(settings)
}

/// The note, locked: exclusively where nobody else has it.
fn join(note: &Path) -> io::Result<(Flock<File>, bool)> {
    if let Some(folder) = note.parent() {
        fs::create_dir_all(folder)?;
    }
    let open = || OpenOptions::new().read(true).append(true).create(true).open(note);
    match Flock::lock(open()?, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok((file, true)),
        Err((file, _)) => {
            let file = Flock::lock(file, FlockArg::LockShared).map_err(|(_, errno)| io::Error::from(errno))?;
            Ok((file, false))
        }
    }
}

impl Settings {
    /// Sets everything back that is still as it was set here, unless another process of
    /// this program still wants it: then it sets back at its end.
    pub fn restore(mut self) -> Vec<Restored> {
        self.set_back()
    }

    fn turn_on(&mut self, name: &'static str, setting: Setting) -> Result<()> {
        let value = setting.read().with_context(|| format!("read {name}"))?;
        self.open.push((name, setting));
        if value != WANTED
            && let (Some((_, setting)), Some(file)) = (self.open.last(), &mut self.shared)
        {
            // Remembered first: who is killed in between has set nothing, or can be followed up.
            let line = self.identity.line(name, value);
            file.write_all(line.as_bytes()).with_context(|| format!("remember {name}"))?;
            setting.write(WANTED).with_context(|| format!("set {name} to {WANTED}"))?;
        }
        Ok(())
    }

    /// Of what one that was killed has left, keeps what is still as it set it. Where it may
    /// have been another namespace's, nothing if one thing is not as it left it.
    fn forget_what_is_over(&mut self, sysctl: &Sysctl) -> Result<()> {
        let still = |(name, _): &(&'static str, u64)| sysctl.read(name).is_ok_and(|value| value == WANTED);
        let mut earlier = self.earlier()?;
        if self.identity.cookie.is_none() && !all_are_set(sysctl) {
            earlier.clear();
        }
        earlier.retain(still);
        if let Some(file) = &mut self.shared {
            file.set_len(0).context("forget earlier settings")?;
            for (name, value) in earlier {
                let line = self.identity.line(name, value);
                file.write_all(line.as_bytes()).context("remember earlier settings")?;
            }
        }
        Ok(())
    }

    /// The values from before the first process, the oldest of each.
    fn earlier(&mut self) -> Result<Vec<(&'static str, u64)>> {
        let mut text = String::new();
        if let Some(file) = &mut self.shared {
            file.rewind().and_then(|()| file.read_to_string(&mut text)).context("read the earlier settings")?;
        }
        let mut values: Vec<(&'static str, u64)> = Vec::new();
        for (name, value) in text.lines().filter_map(|line| self.identity.read(line)) {
            if !values.iter().any(|(known, _)| *known == name) {
                values.push((name, value));
            }
        }
        Ok(values)
    }

    fn set_back(&mut self) -> Vec<Restored> {
        // Refused: another one still wants them, or what it found is not to be known.
        if self.shared.is_none() || self.lock(FlockArg::LockExclusiveNonblock).is_err() {
            self.shared = None;
            return Vec::new();
        }
        let earlier = self.earlier().unwrap_or_default();
        let outcomes = self.open.iter().filter_map(|(name, setting)| {
            let (_, value) = earlier.iter().find(|(earlier, _)| earlier == name)?;
            Some(back(name, setting, *value))
        });
        let outcomes: Vec<Restored> = outcomes.collect();
        if let Some(file) = self.shared.take() {
            let _ = file.set_len(0);
        }
        outcomes
    }

    fn lock(&self, how: FlockArg) -> io::Result<()> {
        match &self.shared {
            Some(file) => file.relock(how).map_err(io::Error::from),
            None => Ok(()),
        }
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        let _ = self.set_back();
    }
}

/// Whether every setting that is there is as the stream wants it.
fn all_are_set(sysctl: &Sysctl) -> bool {
    ROWS.iter().all(|row| match sysctl.read(row.name) {
        Ok(value) => value == WANTED,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    })
}

fn back(name: &'static str, setting: &Setting, value: u64) -> Restored {
    match setting.read() {
        Ok(WANTED) => match setting.write(value) {
            Ok(()) => Restored::Back { name, value },
            Err(error) => Restored::Failed { name, error: error.to_string() },
        },
        Ok(value) => Restored::Changed { name, value },
        Err(error) => Restored::Failed { name, error: error.to_string() },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A folder of settings and the path of a note.
    struct Host(tempfile::TempDir);

    impl Host {
        fn new(events: u64, acct: u64) -> Self {
            let host = Host(tempfile::tempdir().unwrap());
            host.write("nf_conntrack_events", events);
            host.write("nf_conntrack_acct", acct);
            host
        }

        fn write(&self, name: &str, value: u64) {
            fs::write(self.0.path().join(name), format!("{value}\n")).unwrap();
        }

        fn sysctl(&self) -> Sysctl {
            Sysctl::at(self.0.path())
        }

        fn set(&self) -> Settings {
            set(&self.sysctl(), &self.note()).unwrap()
        }

        fn note(&self) -> std::path::PathBuf {
            self.0.path().join("run/note")
        }

        /// One that was killed, in the namespace with this cookie.
        fn killed_in(&self, cookie: Option<u64>) {
            let mut killed = self.set_in("boot", cookie);
            // What the kernel does at a SIGKILL: the lock goes, nothing else happens.
            killed.shared = None;
        }

        fn set_in(&self, boot: &str, cookie: Option<u64>) -> Settings {
            set_as(Identity { boot: boot.into(), cookie }, &self.sysctl(), &self.note()).unwrap()
        }

        /// Events, acct.
        fn values(&self) -> (u64, u64) {
            let read = |name| self.sysctl().read(name).unwrap();
            (read("nf_conntrack_events"), read("nf_conntrack_acct"))
        }
    }

    #[test]
    fn what_is_missing_is_said_for_each_setting() {
        let host = Host::new(2, 0);
        let said: Vec<String> = deviations(&host.sysctl()).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "nf_conntrack_events is 2: entries from before anybody listened end without an event",
                "nf_conntrack_acct is 0: new connections have no packet and byte counts",
                "there is no nf_conntrack_timestamp: connections have no start and stop time by the kernel, and so \
                 no exact duration",
            ]
        );
        host.write("nf_conntrack_timestamp", 1);
        drop(host.set());
        let settings = host.set();
        assert_eq!(deviations(&host.sysctl()).unwrap(), []);
        drop(settings);
    }

    #[test]
    fn what_was_set_is_set_back_at_the_end_and_what_was_right_is_left_alone() {
        let host = Host::new(2, 1);
        let settings = host.set();
        assert_eq!(host.values(), (1, 1));
        assert_eq!(settings.restore(), [Restored::Back { name: "nf_conntrack_events", value: 2 }]);
        assert_eq!(host.values(), (2, 1));
        drop(host.set());
        assert_eq!(host.values(), (2, 1));
    }

    #[test]
    fn what_somebody_else_changed_meanwhile_stays_so() {
        let host = Host::new(2, 0);
        let settings = host.set();
        host.write("nf_conntrack_events", 0);
        assert_eq!(
            settings.restore(),
            [
                Restored::Changed { name: "nf_conntrack_events", value: 0 },
                Restored::Back { name: "nf_conntrack_acct", value: 0 },
            ]
        );
        assert_eq!(host.values(), (0, 0));
    }

    #[test]
    fn of_two_the_last_sets_back_whichever_began() {
        for first_ends_first in [true, false] {
            let host = Host::new(2, 0);
            let (first, second) = (host.set(), host.set());
            let (early, late) = if first_ends_first { (first, second) } else { (second, first) };
            assert_eq!(early.restore(), []);
            assert_eq!(host.values(), (1, 1));
            assert_eq!(late.restore().len(), 2);
            assert_eq!(host.values(), (2, 0));
        }
    }

    #[test]
    fn what_a_killed_one_left_is_set_back_by_the_next() {
        let host = Host::new(2, 0);
        let mut killed = host.set();
        // What the kernel does at a SIGKILL: the lock goes, nothing else happens.
        killed.shared = None;
        drop(killed);
        assert_eq!(host.values(), (1, 1));
        host.write("nf_conntrack_acct", 0);
        assert_eq!(host.set().restore().len(), 2);
        assert_eq!(host.values(), (2, 0));
        assert_eq!(host.set().restore().len(), 2, "and the note is as at the beginning");
    }

    #[test]
    fn what_was_left_in_another_namespace_or_before_a_boot_is_not_believed() {
        for (boot, cookie) in [("boot", Some(8)), ("boot", None), ("another boot", Some(7))] {
            let host = Host::new(0, 0);
            host.killed_in(Some(7));
            host.write("nf_conntrack_events", 2);
            host.write("nf_conntrack_acct", 1);
            let settings = host.set_in(boot, cookie);
            assert_eq!(settings.restore(), [Restored::Back { name: "nf_conntrack_events", value: 2 }]);
            assert_eq!(host.values(), (2, 1), "{boot} {cookie:?}");
        }
    }

    #[test]
    fn without_a_cookie_what_was_left_is_believed_only_if_all_is_as_it_was_left() {
        let host = Host::new(2, 0);
        host.killed_in(None);
        assert_eq!(host.set_in("boot", None).restore().len(), 2);
        assert_eq!(host.values(), (2, 0));
        host.killed_in(None);
        host.write("nf_conntrack_events", 2);
        assert_eq!(host.set_in("boot", None).restore().len(), 1);
        assert_eq!(host.values(), (2, 1));
    }

    #[test]
    fn what_another_namespace_still_holds_is_not_taken_for_ones_own() {
        let host = Host::new(0, 0);
        let other = host.set_in("boot", Some(7));
        let settings = host.set_in("boot", Some(8));
        drop(other);
        assert_eq!(settings.restore(), []);
        assert_eq!(host.values(), (1, 1));
    }

    #[test]
    fn where_one_cannot_be_set_none_stays_set() {
        let host = Host::new(2, 0);
        fs::create_dir(host.0.path().join("nf_conntrack_timestamp")).unwrap();
        assert!(set(&host.sysctl(), &host.note()).is_err());
        assert_eq!(host.values(), (2, 0));
    }
}
