//! A change of one file: of a sysctl, or of a file that is read at boot.

use serde::{Deserialize, Serialize};

use super::setting::Setting;

/// Where systemd-sysctl, and `sysctl --system`, read the settings at boot.
pub const SYSCTL_CONF: &str = "/etc/sysctl.d/90-ctnl.conf";
/// Where modprobe(8) reads the options of the module.
pub const MODPROBE_CONF: &str = "/etc/modprobe.d/ctnl.conf";
/// Where systemd-modules-load reads the modules to load, which is before systemd-sysctl.
pub const MODULES_LOAD_CONF: &str = "/etc/modules-load.d/ctnl.conf";
/// The files that are written. Those of an operation in the log are compared with these.
pub const FILES: [&str; 3] = [SYSCTL_CONF, MODPROBE_CONF, MODULES_LOAD_CONF];

/// A change: what a file contains before and after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The name of the setting; none where it is a file of the boot.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub setting: Option<String>,
    /// The file, below the root.
    pub path: String,
    /// What it contained: of a sysctl its value. `None`: there was no such file.
    pub from: Option<String>,
    /// What it contains then.
    pub to: Option<String>,
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A sysctl.
    Sysctl(Setting),
    /// A file that is read at boot.
    File(&'static str),
}

impl Change {
    /// A change of a setting.
    pub fn of_setting(setting: Setting, from: u64, to: u64) -> Self {
        let (from, to) = (Some(from.to_string()), Some(to.to_string()));
        Change { setting: Some(setting.name().to_owned()), path: setting.path(), from, to }
    }

    /// A change of a file.
    pub fn of_file(path: &'static str, from: Option<String>, to: Option<String>) -> Self {
        Change { setting: None, path: path.to_owned(), from, to }
    }

    /// What it changes. `None` for anything but a setting and the files of this program, as a log that somebody else
    /// has written might have it.
    pub fn place(&self) -> Option<Place> {
        let file = FILES.into_iter().find(|file| *file == self.path).map(Place::File);
        file.or_else(|| Setting::of_path(&self.path).map(Place::Sysctl))
    }

    /// The change that undoes it.
    pub fn inverse(&self) -> Self {
        Change { from: self.to.clone(), to: self.from.clone(), ..self.clone() }
    }

    /// It in one line: `max: 262144 -> 524288`.
    pub fn describe(&self) -> String {
        match self.place() {
            Some(Place::Sysctl(setting)) => {
                let [from, to] = [&self.from, &self.to].map(|text| setting.show_text(text.as_deref()));
                format!("{setting}: {from} -> {to}")
            }
            _ => match (&self.from, &self.to) {
                (None, _) => format!("{}: created", self.path),
                (_, None) => format!("{}: removed", self.path),
                _ => format!("{}: changed", self.path),
            },
        }
    }

    /// What it changes, as a message names it.
    pub fn name(&self) -> &str {
        self.setting.as_deref().unwrap_or(&self.path)
    }
}

/// Sorts changes so that no moment between two of them hurts: the table is never larger than its hash table is made for,
/// timeouts are shortened before the table becomes smaller and lengthened after it became larger, and files come last, when
/// the kernel has taken the values.
pub fn sort_safely(changes: &mut [Change]) {
    changes.sort_by_key(order);
}

fn order(change: &Change) -> u8 {
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let rises = number(&change.to) > number(&change.from);
    match change.place() {
        Some(Place::Sysctl(Setting::Buckets)) if rises => 0,
        Some(Place::Sysctl(Setting::Timeout(_))) if !rises => 1,
        Some(Place::Sysctl(Setting::Max | Setting::ExpectMax)) => 2,
        Some(Place::Sysctl(Setting::Buckets)) => 3,
        Some(Place::Sysctl(Setting::Timeout(_))) => 4,
        Some(Place::Sysctl(_)) => 5,
        Some(Place::File(_)) | None => 6,
    }
}

#[cfg(test)]
mod tests {
    use ctnl::model::Timer;

    use super::*;

    fn sorted(changes: &[Change]) -> Vec<String> {
        let mut changes = changes.to_vec();
        sort_safely(&mut changes);
        changes.iter().map(|change| change.name().to_owned()).collect()
    }

    #[test]
    fn buckets_grow_before_the_table_and_shrink_after_it() {
        let established = Setting::Timeout(Timer::TcpEstablished);
        let file = Change::of_file(SYSCTL_CONF, None, Some(String::new()));
        let grow = [
            file.clone(),
            Change::of_setting(established, 10, 20),
            Change::of_setting(Setting::Acct, 0, 1),
            Change::of_setting(Setting::Max, 1, 2),
            Change::of_setting(Setting::Buckets, 512, 1024),
        ];
        assert_eq!(sorted(&grow), ["buckets", "max", "tcp.established", "acct", SYSCTL_CONF]);
        let shrink = [
            file,
            Change::of_setting(Setting::Buckets, 1024, 512),
            Change::of_setting(Setting::Max, 2, 1),
            Change::of_setting(established, 20, 10),
        ];
        assert_eq!(sorted(&shrink), ["tcp.established", "max", "buckets", SYSCTL_CONF]);
    }

    #[test]
    fn a_change_of_any_other_file_has_no_place() {
        let foreign = Change { setting: None, path: "/etc/passwd".into(), from: None, to: Some("x".into()) };
        assert_eq!(foreign.place(), None);
        let count = Change { path: "/proc/sys/net/netfilter/nf_conntrack_count".into(), ..foreign };
        assert_eq!(count.place(), None);
    }

    #[test]
    fn the_inverse_of_the_inverse_is_the_change() {
        let change = Change::of_setting(Setting::Max, 1, 2);
        assert_eq!(change.inverse().describe(), "max: 2 -> 1");
        assert_eq!(change.inverse().inverse(), change);
    }
}
