//! "table full" in the log of the kernel: in its own buffer, in the journal and in the files of the syslog daemons.
//!
//! The same message is in several of them, so nothing is added up across sources.

mod journal;
mod kmsg;
mod line;
mod log_files;
mod message;
mod stream;
mod tally;

use std::collections::BTreeSet;

use ctnl::host::Host;
use ctnl::units::Nanos;
use jiff::tz::TimeZone;

pub use self::kmsg::Unreadable;
use self::tally::Tally;
pub use self::tally::{Notices, Occurrences};
use super::files::local_time_zone;

/// Whether a signal has requested the end.
pub type Interrupted<'i> = &'i (dyn Fn() -> bool + Sync);

/// What one source has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// Its path, or `the journal`.
    pub name: String,
    /// What was found.
    pub notices: Notices,
    /// Parts that were not read, and why.
    pub gaps: Vec<String>,
    /// Nothing of it could be read: why.
    pub unreadable: Option<Unreadable>,
}

impl LogSource {
    fn empty(name: String) -> Self {
        LogSource { name, notices: Notices::default(), gaps: Vec::new(), unreadable: None }
    }

    fn unreadable(name: &str, why: Unreadable) -> Self {
        LogSource { unreadable: Some(why), ..LogSource::empty(name.to_owned()) }
    }
}

/// What all sources have.
#[derive(Debug, Clone)]
pub struct KernelLog {
    /// The sources that exist.
    pub sources: Vec<LogSource>,
    /// When they were read, since 1970.
    pub read_at: Nanos,
    /// The time zone of the host.
    pub zone: TimeZone,
}

impl KernelLog {
    /// Reads the files of `host`, and where it is the running one also the buffer of the kernel and the journal; up to the
    /// time at which `is_interrupted` is true.
    pub fn read(host: &Host, is_running: bool, is_interrupted: Interrupted<'_>) -> Self {
        let (now, zone, name) = (host.clock.now().realtime, local_time_zone(host), name_of(host));
        let tally = || Tally::new(now, name.as_deref());
        let mut sources = Vec::new();
        if is_running {
            match kmsg::read(host, tally(), is_interrupted) {
                Ok((notices, gaps)) => {
                    sources.push(LogSource { notices, gaps, ..LogSource::empty(kmsg::PATH.to_owned()) });
                }
                Err(Unreadable::Absent) => {}
                Err(why) => sources.push(LogSource::unreadable(kmsg::PATH, why)),
            }
        }
        sources.extend(journal::read(host, is_running, tally, is_interrupted));
        sources.extend(log_files::read(host, &zone, tally, is_interrupted));
        KernelLog { sources, read_at: now, zone }
    }

    /// The inode numbers of the namespaces in the messages.
    pub fn namespaces(&self) -> BTreeSet<u64> {
        self.sources.iter().flat_map(|source| source.notices.full.keys().copied().flatten()).collect()
    }
}

/// The name of the host, as its syslog daemon writes it.
pub fn name_of(host: &Host) -> Option<String> {
    let name = host.kernel().read_text("hostname").ok();
    let name = name.or_else(|| std::fs::read_to_string(host.path("/etc/hostname")).ok())?;
    let name = name.trim().to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::clock::Clock;

    use super::*;

    #[test]
    fn a_host_that_does_not_run_has_the_log_of_its_files_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/hostname", "gate\n"),
            (
                "var/log/messages",
                "2026-11-29T01:52:10Z gate kernel: nf_conntrack: table full in netns 7, dropping packet\n\
                                  2026-11-29T01:52:10Z other kernel: nf_conntrack: table full, dropping packet\n",
            ),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let log = KernelLog::read(&Host::at(folder.path(), Clock::system()), false, &|| false);
        assert_eq!(log.sources.iter().map(|source| &*source.name).collect::<Vec<_>>(), ["/var/log/messages"]);
        assert_eq!(log.sources[0].notices.other_hosts, 1);
        assert_eq!(log.namespaces().into_iter().collect::<Vec<_>>(), [7]);
        let log = KernelLog::read(&Host::at(folder.path(), Clock::system()), false, &|| true);
        assert_eq!(log.sources[0].gaps, ["messages and older ones: not read: interrupted"]);
    }
}
