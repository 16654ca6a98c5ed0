//! Which files make the boot set the new values, and whether it really does, by the rules of its init system.

use ctnl::host::Host;

use super::change::{Change, FILES, MODPROBE_CONF, MODULES_LOAD_CONF, Place, SYSCTL_CONF};
use super::persist::{modprobe_conf, modules_load_conf, sysctl_conf};
use super::places::Places;
use super::setting::Setting;
use crate::host::boot::{Assignment, Boot, Effect, Init, Loading, PlannedFile};

/// The changes of files, and what they do not achieve.
#[derive(Debug, Default)]
pub struct BootPlan {
    /// The files.
    pub changes: Vec<Change>,
    /// Settings that the boot would set to something else, or not at all: each with the file and line that decides.
    pub overridden: Vec<String>,
    /// What is unknown, or was added.
    pub notes: Vec<String>,
}

/// The files by which the boot of `host` sets `values`. `now` is the maximum now.
///
/// # Errors
/// A file exists and cannot be read.
pub fn plan(
    host: &Host,
    places: &mut dyn Places,
    values: &[(Setting, u64)],
    max_now: Option<u64>,
) -> Result<BootPlan, String> {
    let mut plan = BootPlan::default();
    let before = Boot::read(host);
    let values = with_max(values, max_now, &before, &mut plan.notes);
    let files = FILES.map(|path| (path, places.read(Place::File(path))));
    let mut existing = Vec::new();
    for (path, read) in files {
        existing.push((path, read.map_err(|error| format!("cannot read {path}: {error}"))?));
    }
    let text = |path: &str| existing.iter().find(|(file, _)| *file == path).and_then(|(_, text)| text.as_deref());
    let by_module = files_of(&values, true, text, &before);
    let boot = Boot::read_with(host, &planned(&by_module));
    // Where modprobe.d is not read, or the module is built in, the sysctl has the same effect.
    let buckets = values.iter().find(|(setting, _)| *setting == Setting::Buckets);
    let is_loaded_with = buckets.is_none_or(|(_, value)| boot.hashsize().and_then(|set| set.number()) == Some(*value));
    let (files, boot) = if is_loaded_with {
        (by_module, boot)
    } else {
        let by_sysctl = files_of(&values, false, text, &before);
        let boot = Boot::read_with(host, &planned(&by_sysctl));
        plan.notes
            .push("buckets: the boot reads no hashsize= from modprobe.d here, so they are set as a sysctl".into());
        (by_sysctl, boot)
    };
    for (setting, value) in &values {
        check(&boot, *setting, *value, &mut plan);
    }
    plan.notes.extend(boot.unreadable.iter().map(|left| format!("cannot read {}: {}", left.file, left.why)));
    plan.changes = files
        .into_iter()
        .map(|(path, new)| Change::of_file(path, text(path).map(str::to_owned), Some(new)))
        .filter(|change| change.from != change.to)
        .collect();
    Ok(plan)
}

/// With `hashsize=` the module sets the maximum to eight times as much (`nf_conntrack_init_start` in
/// net/netfilter/nf_conntrack_core.c), so the maximum is made to stay.
fn with_max(
    values: &[(Setting, u64)],
    max_now: Option<u64>,
    before: &Boot,
    notes: &mut Vec<String>,
) -> Vec<(Setting, u64)> {
    let mut values = values.to_vec();
    let has = |values: &[(Setting, u64)], wanted| values.iter().any(|(setting, _)| *setting == wanted);
    let is_set = before.sysctl(&Setting::Max.key()).is_some();
    if let Some(max) = max_now.filter(|_| has(&values, Setting::Buckets) && !has(&values, Setting::Max) && !is_set) {
        notes
            .push(format!("max {max} is written, too: a module that is loaded with hashsize= sets it to 8 x hashsize"));
        values.push((Setting::Max, max));
    }
    values
}

/// The new texts of the files.
fn files_of<'t>(
    values: &[(Setting, u64)],
    by_module: bool,
    text: impl Fn(&str) -> Option<&'t str>,
    before: &Boot,
) -> Vec<(&'static str, String)> {
    let buckets = values.iter().find(|(setting, _)| *setting == Setting::Buckets).filter(|_| by_module);
    let sysctls = values.iter().filter(|(setting, _)| buckets.is_none() || *setting != Setting::Buckets);
    let assignments: Vec<_> = sysctls.map(|(setting, value)| (setting.key(), *value)).collect();
    let mut files = Vec::new();
    if !assignments.is_empty() {
        files.push((SYSCTL_CONF, sysctl_conf(text(SYSCTL_CONF), &assignments)));
    }
    if let Some((_, buckets)) = buckets {
        files.push((MODPROBE_CONF, modprobe_conf(text(MODPROBE_CONF), *buckets)));
    }
    if !matches!(before.loading, Loading::BuiltIn { .. }) {
        files.push((MODULES_LOAD_CONF, modules_load_conf(text(MODULES_LOAD_CONF))));
    }
    files
}

fn planned(files: &[(&'static str, String)]) -> Vec<PlannedFile> {
    files.iter().map(|(path, text)| PlannedFile { path: (*path).to_owned(), text: Some(text.clone()) }).collect()
}

/// The line that decides on a setting.
pub fn deciding(boot: &Boot, setting: Setting) -> Option<Assignment> {
    if setting == Setting::Buckets { boot.buckets() } else { boot.sysctl(&setting.key()) }
}

/// The init system, for messages.
fn init_name(init: Init) -> &'static str {
    match init {
        Init::Systemd => "systemd",
        Init::RedHatSysV => "initscripts of CentOS 6",
        Init::DebianSysV => "sysvinit",
        Init::OpenRc => "OpenRC",
        Init::Procd => "procd of OpenWrt",
        Init::Unknown => "an unknown init system",
    }
}

fn check(boot: &Boot, setting: Setting, value: u64, plan: &mut BootPlan) {
    let Some(line) = deciding(boot, setting) else {
        plan.overridden.push(format!(
            "{setting}: the boot of this host ({}) reads none of the files for it",
            init_name(boot.init)
        ));
        return;
    };
    match boot.effect(&line) {
        _ if line.number() != Some(value) => plan.overridden.push(format!("{setting}: {line}")),
        Effect::Applied => {}
        Effect::Unknown => {
            let note = format!("{setting}: it is unknown whether nf_conntrack is loaded when {} is applied", line.file);
            if !plan.notes.contains(&note) {
                plan.notes.push(note);
            }
        }
        Effect::TooEarly => {
            plan.overridden.push(format!("{setting}: nf_conntrack is loaded after {} is applied", line.file));
        }
        Effect::Refused => plan.overridden.push(format!("{setting}: the kernel refuses {line}")),
    }
}
