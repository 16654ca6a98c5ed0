//! The settings: names, files, and how their values are written.

use std::fmt;

use ctnl::model::{TIMERS, Timer};
use ctnl::units::Seconds;

/// A setting of connection tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setting {
    /// The most entries of a namespace.
    Max,
    /// The buckets of the hash table, which all namespaces share.
    Buckets,
    /// The most expectations of a namespace.
    ExpectMax,
    /// Packet and byte counters of new entries.
    Acct,
    /// Start and stop times of new entries.
    Timestamp,
    /// Events: 0 off, 1 on, 2 for entries that are created while somebody is subscribed.
    Events,
    /// A timeout.
    Timeout(Timer),
}

/// The settings that are no timeouts, with their names and files.
const OTHERS: [(Setting, &str, &str); 6] = [
    (Setting::Max, "max", "nf_conntrack_max"),
    (Setting::Buckets, "buckets", "nf_conntrack_buckets"),
    (Setting::ExpectMax, "expect_max", "nf_conntrack_expect_max"),
    (Setting::Acct, "acct", "nf_conntrack_acct"),
    (Setting::Timestamp, "timestamp", "nf_conntrack_timestamp"),
    (Setting::Events, "events", "nf_conntrack_events"),
];

impl Setting {
    /// The folder of the files.
    pub const FOLDER: &'static str = "/proc/sys/net/netfilter";

    /// All that a kernel may have.
    pub fn all() -> impl Iterator<Item = Setting> {
        let timers = TIMERS.iter().filter(|row| row.sysctl.is_some()).map(|row| Setting::Timeout(row.timer));
        OTHERS.iter().map(|(setting, ..)| *setting).chain(timers)
    }

    /// Its name, such as `max` or `tcp.established`.
    pub fn name(self) -> &'static str {
        match self {
            Setting::Timeout(timer) => timer.name(),
            other => other.row().0,
        }
    }

    /// The name of its file, such as `nf_conntrack_max`.
    pub fn sysctl(self) -> &'static str {
        match self {
            Setting::Timeout(timer) => {
                TIMERS.iter().find(|row| row.timer == timer).and_then(|row| row.sysctl).unwrap_or_default()
            }
            other => other.row().1,
        }
    }

    fn row(self) -> (&'static str, &'static str) {
        OTHERS.iter().find(|(setting, ..)| *setting == self).map_or(("", ""), |(_, name, file)| (name, file))
    }

    /// Its file.
    pub fn path(self) -> String {
        format!("{}/{}", Self::FOLDER, self.sysctl())
    }

    /// Its name for sysctl(8).
    pub fn key(self) -> String {
        format!("net.netfilter.{}", self.sysctl())
    }

    /// The setting with this file.
    pub fn of_path(path: &str) -> Option<Self> {
        let file = path.strip_prefix(Self::FOLDER)?.strip_prefix('/')?;
        Self::all().find(|setting| setting.sysctl() == file)
    }

    /// Whether there is one value for all namespaces, which the first one alone may set (`nf_conntrack_standalone_init_sysctl`
    /// in net/netfilter/nf_conntrack_standalone.c makes them read-only in the others).
    pub fn is_global(self) -> bool {
        matches!(self, Setting::Max | Setting::Buckets | Setting::ExpectMax)
    }

    /// A value as people write it.
    pub fn show(self, value: u64) -> String {
        match (self, value) {
            (Setting::Timeout(_), seconds) => Seconds(seconds).to_string(),
            (Setting::Acct | Setting::Timestamp | Setting::Events, 0) => "off".to_owned(),
            (Setting::Acct | Setting::Timestamp | Setting::Events, 1) => "on".to_owned(),
            (Setting::Events, 2) => "auto".to_owned(),
            (_, number) => number.to_string(),
        }
    }

    /// The content of its file as people write it.
    pub fn show_text(self, text: Option<&str>) -> String {
        match text {
            None => "absent".to_owned(),
            Some(text) => text.parse().map_or_else(|_| text.to_owned(), |value| self.show(value)),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_found_by_its_file_and_no_two_share_one() {
        for setting in Setting::all() {
            assert_eq!(Setting::of_path(&setting.path()), Some(setting));
            assert!(!setting.name().is_empty() && setting.sysctl().starts_with("nf_conntrack_"));
        }
        assert_eq!(Setting::of_path("/proc/sys/net/netfilter/nf_conntrack_count"), None);
        assert_eq!(Setting::of_path("/etc/passwd"), None);
    }

    #[test]
    fn a_value_is_shown_as_it_is_given() {
        assert_eq!(Setting::Timeout(Timer::TcpEstablished).show(432_000), "5d");
        assert_eq!([0, 1, 2, 7].map(|value| Setting::Events.show(value)), ["off", "on", "auto", "7"]);
        assert_eq!(Setting::Max.show_text(Some("262144")), "262144");
        assert_eq!(Setting::Max.show_text(None), "absent");
    }
}
