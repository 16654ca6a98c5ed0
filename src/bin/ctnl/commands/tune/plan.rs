//! What `ctnl tune set` is going to change, or why it refuses.

use anyhow::{Result, anyhow};

use super::existing;
use super::target::{self, Target};
use crate::host::namespaces::Namespaces;
use crate::host::table_memory::TableMemory;
use crate::term::exit::usage;
use crate::tune::{
    BootPlan, Change, HostPlaces, Place, Places, Refusal, Setting, Sizes, Words, judge, plan_files, sort_safely,
};

/// How it is planned.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions {
    /// What is allowed.
    pub words: Words,
    /// Also at boot.
    pub persist: bool,
    /// Also of entries that are there.
    pub existing: bool,
    /// Also where another file overrides it at boot.
    pub overridden: bool,
}

/// What is going to be changed.
#[derive(Debug, Default)]
pub struct Plan {
    /// The settings.
    pub changes: Vec<Change>,
    /// The files.
    pub files: BootPlan,
    /// Timeouts of existing entries.
    pub existing: Vec<(String, u64)>,
    /// Entries of the namespace.
    pub entries: Option<u64>,
    /// What may have consequences.
    pub notes: Vec<String>,
}

/// A setting, its new value and the one now; `None` where there is no such sysctl.
type Wanted = (Setting, u64, Option<u64>);

impl Plan {
    /// The plan for `values`.
    ///
    /// # Errors
    /// A usage error: what is refused, and why.
    pub fn make(target: &Target, values: &[(Setting, u64)], options: PlanOptions) -> Result<Self> {
        let mut places = target.places();
        let wanted = read_now(&mut places, values)?;
        refuse_absent(target, &wanted, options.persist)?;
        refuse_read_only(target, &places, &wanted)?;
        let memory = TableMemory::read(&target.host);
        let entries = entries(&mut places, target, values);
        let sizes = sizes(&mut places, values, entries);
        let verdict = judge(values, &sizes, &memory, options.words);
        refuse(&verdict.refusals)?;
        let changes = changes(target, &memory, &wanted);
        let mut plan = Plan { changes, entries, notes: verdict.notes, ..Plan::default() };
        if options.existing {
            plan.existing = existing::timeouts(values);
        }
        if options.persist {
            let files = plan_files(&target.host, &mut places, values, sizes.max_now);
            plan.files = files.map_err(|error| anyhow!("--persist: {error}"))?;
            plan.notes.append(&mut plan.files.notes);
            refuse_overridden(&plan.files.overridden, options.overridden)?;
        }
        Ok(plan)
    }
}

/// A setting that does not exist: of an image, only the file is written.
fn refuse_absent(target: &Target, wanted: &[Wanted], persist: bool) -> Result<()> {
    let absent: Vec<_> = wanted.iter().filter(|(.., now)| now.is_none()).map(|(setting, ..)| setting.key()).collect();
    if absent.is_empty() || persist && !target.is_live() {
        return Ok(());
    }
    let names = absent.join(", ");
    let hint = match (target.is_live(), absent.len() == wanted.len()) {
        (false, _) => "an image has no settings, only files: write them with --persist",
        (true, true) => "the module is not loaded: modprobe nf_conntrack; or /proc is not mounted",
        (true, false) => "this kernel does not have it, or not in this network namespace",
    };
    Err(usage(format!("there is no sysctl {names}: nothing was changed\n  hint: {hint}")))
}

fn refuse_overridden(overridden: &[String], is_allowed: bool) -> Result<()> {
    if overridden.is_empty() || is_allowed {
        return Ok(());
    }
    Err(usage(format!(
        "--persist: the next boot would not give these values, so nothing was changed:\n  {}\n  hint: change or remove \
         that line; or write the files nevertheless with --overridden",
        overridden.join("\n  ")
    )))
}

fn read_now(places: &mut HostPlaces, values: &[(Setting, u64)]) -> Result<Vec<Wanted>> {
    let read = |(setting, value): &(Setting, u64)| Ok((*setting, *value, number(places, *setting)?));
    values.iter().map(read).collect()
}

fn number(places: &mut HostPlaces, setting: Setting) -> Result<Option<u64>> {
    let text = places.read(Place::Sysctl(setting));
    let text = text.map_err(|error| anyhow!("read {}: {error}", setting.path()))?;
    let parse = |text: String| text.parse().map_err(|_| anyhow!("{} has '{text}': expected a number", setting.path()));
    text.map(parse).transpose()
}

/// Names the settings that this namespace may not set, each with the error of the kernel and where it is set.
fn refuse_read_only(target: &Target, places: &HostPlaces, wanted: &[Wanted]) -> Result<()> {
    let exist = wanted.iter().filter(|(.., now)| now.is_some());
    let refused: Vec<_> = exist
        .filter_map(|(setting, ..)| places.check_writable(*setting).err().map(|error| (*setting, error)))
        .collect();
    let Some((_, first)) = refused.first() else { return Ok(()) };
    let names = refused.iter().map(|(setting, _)| setting.name()).collect::<Vec<_>>().join(", ");
    let is_read_only = first.raw_os_error() == Some(nix::libc::EROFS);
    let hint = if is_read_only {
        "/proc/sys is mounted read-only here (a container): set it on the host, with --netns PID for a namespace's own"
    } else if refused.iter().all(|(setting, _)| setting.is_global()) && target.is_live() {
        "these have one value for the whole host, which only its first network namespace may set: run it there (nsenter \
         -t 1 -n, or outside of the container)"
    } else {
        "run it as root of the user namespace that owns this network namespace"
    };
    Err(usage(format!("{names}: read-only here ({first}): nothing was changed\n  hint: {hint}")))
}

fn refuse(refusals: &[Refusal]) -> Result<()> {
    if refusals.is_empty() {
        return Ok(());
    }
    let lines = refusals.iter().map(|refusal| match refusal.word {
        Some(word) => format!("{} (allow it with {word})", refusal.reason),
        None => refusal.reason.clone(),
    });
    Err(usage(format!("refused, nothing was changed:\n  {}", lines.collect::<Vec<_>>().join("\n  "))))
}

/// The changes of settings, in their order.
fn changes(target: &Target, memory: &TableMemory, wanted: &[Wanted]) -> Vec<Change> {
    let mut changes: Vec<_> = wanted
        .iter()
        .filter_map(|(setting, value, now)| {
            let rounds = *setting == Setting::Buckets && target.is_live();
            let value = if rounds { memory.round_buckets(*value) } else { *value };
            now.filter(|now| *now != value).map(|now| Change::of_setting(*setting, now, value))
        })
        .collect();
    sort_safely(&mut changes);
    changes
}

/// The sizes of the table with the new `values`.
pub fn sizes(places: &mut HostPlaces, values: &[(Setting, u64)], entries: Option<u64>) -> Sizes {
    let mut now = |setting| number(places, setting).ok().flatten();
    let (max_now, buckets_now) = (now(Setting::Max), now(Setting::Buckets));
    let new = |wanted, now: Option<u64>| {
        values.iter().find(|(setting, _)| *setting == wanted).map(|(_, value)| *value).or(now)
    };
    Sizes {
        max_now,
        max: new(Setting::Max, max_now),
        buckets_now,
        buckets: new(Setting::Buckets, buckets_now),
        entries,
    }
}

/// Entries of the fullest namespace, since the maximum is compared with the count of each; where the maximum is not
/// lowered, those of this one.
pub fn entries(places: &mut HostPlaces, target: &Target, values: &[(Setting, u64)]) -> Option<u64> {
    let own = target::entries(target);
    let max_now = number(places, Setting::Max).ok().flatten();
    let new = values.iter().find(|(setting, _)| *setting == Setting::Max).map(|(_, value)| *value);
    let is_lowered = new.is_some_and(|new| max_now.is_none_or(|now| now == 0 || new < now));
    if !is_lowered || !target.is_live() {
        return own;
    }
    let mut namespaces = Namespaces::new(target.host.proc());
    let found = namespaces.refresh().map(|changes| changes.appeared).unwrap_or_default();
    let others = found.iter().filter_map(|namespace| {
        let host = &target.host;
        namespace.open().ok()?.run(|| host.netfilter().read("nf_conntrack_count").ok()).ok().flatten()
    });
    others.chain(own).max()
}
