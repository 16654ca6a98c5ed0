//! The sysctls of conntrack that decide what an event stream contains.
//!
//! They are per network namespace: `nf_conntrack_standalone_init_sysctl` in
//! net/netfilter/nf_conntrack_standalone.c. A change applies to entries that are created
//! after it, because the extensions of an entry are added in `init_conntrack`
//! (net/netfilter/nf_conntrack_core.c).

use std::fmt;
use std::io;

use anyhow::{Context, Result};
use ctnl::sysctl::Sysctl;

/// A sysctl, the value that the event stream needs, and what is missing with another one.
#[derive(Debug)]
struct Row {
    name: &'static str,
    wanted: u64,
    /// Each value that is not enough, and what is missing with it.
    missing: &'static [(u64, &'static str)],
    /// What is missing where the kernel has no such sysctl.
    absent: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        name: "nf_conntrack_events",
        wanted: 1,
        missing: &[
            (0, "entries that are created now send no events"),
            (2, "entries that are older than the first subscription end without an event"),
        ],
        absent: "the kernel has no conntrack events, or the module nf_conntrack is not loaded",
    },
    Row {
        name: "nf_conntrack_acct",
        wanted: 1,
        missing: &[(0, "new entries have no packet and byte counters")],
        absent: "entries have no packet and byte counters",
    },
    Row {
        name: "nf_conntrack_timestamp",
        wanted: 1,
        missing: &[(0, "new entries have no start and stop time of the kernel, so no exact duration")],
        absent: "entries have no start and stop time of the kernel, so no exact duration",
    },
];

/// A sysctl that has not the value that the event stream needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deviation {
    /// The file's name below `/proc/sys/net/netfilter`.
    pub name: &'static str,
    /// Its value; `None` where the kernel has no such sysctl.
    pub value: Option<u64>,
    /// The value that the stream needs.
    pub wanted: u64,
    /// What is missing, in a sentence without its full stop.
    pub missing: &'static str,
}

impl Deviation {
    /// The line of a file in `/etc/sysctl.d` that sets it; `None` where there is nothing to set.
    pub fn line(&self) -> Option<String> {
        self.value.map(|_| format!("net.netfilter.{} = {}", self.name, self.wanted))
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "net.netfilter.{} is {value}: {}", self.name, self.missing),
            None => write!(f, "no sysctl net.netfilter.{}: {}", self.name, self.missing),
        }
    }
}

/// The sysctls below `netfilter` that have not the value that the event stream needs.
///
/// # Errors
/// A sysctl exists and cannot be read.
pub fn deviations(netfilter: &Sysctl) -> Result<Vec<Deviation>> {
    let mut found = Vec::new();
    for Row { name, wanted, missing, absent } in ROWS {
        let value = match netfilter.read(name) {
            Ok(value) => Some(value),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("read net.netfilter.{name}")),
        };
        let missing = match value {
            None => Some(*absent),
            Some(value) => missing.iter().find(|(bad, _)| *bad == value).map(|(_, missing)| *missing),
        };
        found.extend(missing.map(|missing| Deviation { name, value, wanted: *wanted, missing }));
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    /// The deviations where these sysctls exist, each with its line for /etc/sysctl.d.
    fn deviations_of(sysctls: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in sysctls {
            fs::write(folder.path().join(name), value).unwrap();
        }
        let found = deviations(&Sysctl::at(folder.path())).unwrap();
        found.iter().map(|deviation| (deviation.to_string(), deviation.line())).collect()
    }

    #[test]
    fn each_deviation_names_the_sysctl_what_is_missing_and_the_line_that_sets_it() {
        let found = deviations_of(&[("nf_conntrack_events", "2\n"), ("nf_conntrack_acct", "0\n")]);
        let expected = [
            (
                "net.netfilter.nf_conntrack_events is 2: entries that are older than the first subscription end \
                 without an event",
                Some("net.netfilter.nf_conntrack_events = 1"),
            ),
            (
                "net.netfilter.nf_conntrack_acct is 0: new entries have no packet and byte counters",
                Some("net.netfilter.nf_conntrack_acct = 1"),
            ),
            (
                "no sysctl net.netfilter.nf_conntrack_timestamp: entries have no start and stop time of the kernel, \
                 so no exact duration",
                None,
            ),
        ];
        assert_eq!(found, expected.map(|(text, line)| (text.to_owned(), line.map(str::to_owned))));
    }

    #[test]
    fn where_every_sysctl_is_on_there_is_no_deviation() {
        let on = ["nf_conntrack_events", "nf_conntrack_acct", "nf_conntrack_timestamp"].map(|name| (name, "1\n"));
        assert_eq!(deviations_of(&on), []);
    }

    #[test]
    fn no_sysctl_is_listed_twice_and_every_one_says_what_is_missing() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(ROWS.iter().skip(index + 1).all(|other| other.name != row.name));
            assert!(!row.missing.is_empty() && row.missing.iter().all(|(value, _)| *value != row.wanted));
        }
    }
}
