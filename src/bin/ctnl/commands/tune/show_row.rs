//! A row of `ctnl tune show`: a setting now, at boot, and what is recommended.

use ctnl::model::TIMERS;
use serde_json::{Value, json};

use crate::host::boot::{Assignment, Boot, Effect};
use crate::host::table_memory::TableMemory;
use crate::tune::{HostPlaces, Place, Places, Setting, Table, deciding, recommend};

/// A setting, as it is shown.
pub struct Row {
    /// The setting.
    pub setting: Setting,
    /// Its value now.
    pub now: Option<u64>,
    /// What the boot sets.
    pub boot: AtBoot,
    /// What is recommended.
    pub recommended: Option<u64>,
    /// Why.
    pub why: String,
    /// Whether it can be set here.
    pub writable: bool,
}

/// What the boot sets.
pub struct AtBoot {
    /// The line that decides.
    pub line: Option<Assignment>,
    effect: Option<Effect>,
    /// The maximum that follows from a hash size, where no line sets it.
    follows: Option<(u64, Assignment)>,
}

/// The value of a setting now.
pub fn now(places: &mut HostPlaces, setting: Setting) -> Option<u64> {
    places.read(Place::Sysctl(setting)).ok().flatten()?.parse().ok()
}

/// The row of a setting. `table` is `None` where its size is unknown.
pub fn row(setting: Setting, places: &mut HostPlaces, boot: &Boot, table: Option<Table>, memory: &TableMemory) -> Row {
    let value = now(places, setting);
    let found = value.map(|value| recommend(setting, value, table, memory));
    let (recommended, why) = found.map_or((None, String::new()), |found| (Some(found.value), found.why));
    let why = boot.writers_of(&setting.key()).fold(why, |why, writer| {
        let separator = if why.is_empty() { "" } else { "; " };
        format!("{why}{separator}{}", writer.describe())
    });
    let writable = value.is_some() && places.check_writable(setting).is_ok();
    Row { setting, now: value, boot: AtBoot::of(setting, boot), recommended, why, writable }
}

impl Row {
    /// Whether it is shown without -v: what has an option of its own, and what is not as by default.
    pub fn is_notable(&self) -> bool {
        let Setting::Timeout(timer) = self.setting else { return true };
        let default = TIMERS.iter().find(|row| row.timer == timer).and_then(|row| row.default).map(u64::from);
        let is_default = self.now == default && self.boot.line.is_none();
        let has_option = matches!(
            timer.name(),
            "tcp.established"
                | "tcp.close_wait"
                | "tcp.fin_wait"
                | "tcp.time_wait"
                | "tcp.syn_sent"
                | "tcp.syn_recv"
                | "udp.unreplied"
                | "udp.stream"
                | "generic"
        );
        has_option || !is_default
    }

    /// It as JSON.
    pub fn json(&self) -> Value {
        json!({
            "setting": self.setting.name(),
            "sysctl": self.setting.key(),
            "now": self.now,
            "writable": self.writable,
            "global": self.setting.is_global(),
            "at_boot": self.boot.json(),
            "recommended": self.recommended,
            "why": self.why,
        })
    }
}

fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Applied => "applied",
        Effect::TooEarly => "too_early",
        Effect::Unknown => "unknown",
        Effect::Refused => "refused",
    }
}

impl AtBoot {
    fn of(setting: Setting, boot: &Boot) -> Self {
        let line = deciding(boot, setting);
        let effect = line.as_ref().map(|line| boot.effect(line));
        let is_set = !matches!(effect, None | Some(Effect::TooEarly | Effect::Refused));
        let follows = boot.max_of_hashsize().filter(|_| setting == Setting::Max && !is_set);
        AtBoot { line, effect, follows }
    }

    /// It in a cell.
    pub fn text(&self, setting: Setting) -> String {
        let follows = self.follows.as_ref();
        let follows = follows.map(|(max, line)| format!("{max} (8 x hashsize, {}:{})", line.file, line.line));
        let (Some(line), Some(effect)) = (&self.line, self.effect) else {
            return follows.unwrap_or_else(|| "default".to_owned());
        };
        let value = line.number().map_or_else(|| line.value.clone(), |number| setting.show(number));
        let remark = match effect {
            Effect::Applied => "",
            Effect::TooEarly => ", too early: the module is loaded later",
            Effect::Unknown => ", if the module is loaded by then",
            Effect::Refused => ", refused by the kernel",
        };
        let then = follows.map(|follows| format!("; so {follows}")).unwrap_or_default();
        format!("{value} ({}:{}{remark}){then}", line.file, line.line)
    }

    fn json(&self) -> Option<Value> {
        if let Some(line) = &self.line {
            let effect = self.effect.map(effect_name);
            let then = self.follows.as_ref().map(|(max, _)| max);
            return Some(json!({
                "value": line.number(), "text": line.value, "file": line.file, "line": line.line, "effect": effect,
                "follows": then,
            }));
        }
        let (max, line) = self.follows.as_ref()?;
        Some(json!({
            "value": max, "text": line.value, "file": line.file, "line": line.line, "effect": "applied", "follows": max,
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::fs;

    use ctnl::clock::Clock;
    use ctnl::host::Host;

    use super::*;

    #[test]
    fn a_maximum_that_nothing_sets_follows_from_the_hash_size_and_a_line_that_comes_too_early_stays_in_sight() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path(), Clock::system());
        let write = |path: &str, text: &str| {
            fs::create_dir_all(host.path(path).parent().unwrap()).unwrap();
            fs::write(host.path(path), text).unwrap();
        };
        write("/usr/lib/systemd/systemd-sysctl", "");
        write("/lib/modules/6.1.0/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
        write("/etc/modprobe.d/c.conf", "options nf_conntrack hashsize=1024\n");
        let max = || AtBoot::of(Setting::Max, &Boot::read(&host));
        assert_eq!(max().text(Setting::Max), "8192 (8 x hashsize, /etc/modprobe.d/c.conf:1)");
        assert_eq!(max().json().unwrap()["value"], 8192);
        write("/etc/sysctl.d/c.conf", "net.netfilter.nf_conntrack_max = 9\n");
        let early = "9 (/etc/sysctl.d/c.conf:1, too early: the module is loaded later); so 8192 (8 x hashsize, \
                     /etc/modprobe.d/c.conf:1)";
        assert_eq!(max().text(Setting::Max), early);
        assert_eq!((&max().json().unwrap()["value"], &max().json().unwrap()["follows"]), (&9.into(), &8192.into()));
        write("/etc/modules-load.d/c.conf", "nf_conntrack\n");
        assert_eq!(max().text(Setting::Max), "9 (/etc/sysctl.d/c.conf:1)");
        assert_eq!(AtBoot::of(Setting::Acct, &Boot::read(&host)).text(Setting::Acct), "default");
    }
}
