//! `ctnl tune set`.

use anyhow::Result;
use ctnl::host::Host;
use ctnl::units::Seconds;

use super::existing::{self, Capped};
use super::pending;
use super::report::{Outcome, diff_text, show_before};
use super::run::{Env, Job};
use super::set_args::ValueArgs;
use super::target::{Target, TargetArgs};
use super::{ask, target};
use crate::host::namespaces::Namespaces;
use crate::host::table_memory::TableMemory;
use crate::term::console::{Console, percent};
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;
use crate::term::stdout::print;
use crate::tune::{
    BootPlan, Change, HostPlaces, Log, Place, Places, Refusal, Setting, Sizes, Words, judge, plan_files, sort_safely,
};

/// Where nobody is asked, existing entries are not made shorter-lived in a larger part of the table without --yes.
const STOP_ABOVE: u64 = 90;
/// In a smaller table they are.
const SMALL_TABLE: u64 = 100;

const EXAMPLES: &str = "\
Examples:
  ctnl tune set --max 524288 --buckets 524288 --persist
      Now and at every boot; buckets are raised first.
  ctnl tune set --established-timeout 1h --existing --dry-run
      What would be changed, with the entries that would be lowered.
  ctnl tune set --established-timeout 1h --close-wait-timeout 30s --confirm-within 60s
      Press Enter within a minute to keep it; otherwise, and when the console is cut off, it is rolled back.
  ctnl tune set --max 262144 --persist --root /mnt/image
      The files of an image.
  ctnl tune set --timeout icmp=10s,gre.stream=60s --acct on --netns blue
      In a namespace of `ip netns`; sizes are those of the whole host and are set there.

Every change is checked, applied, read back and verified. Where any part fails, or a signal comes, all of it is
rolled back.
Exit codes: 0 done; 1 failed, everything is as before; 2 bad usage or refused, nothing was changed; 3 a part could not
be rolled back, or entries could not be changed, or another file overrides the new ones at boot (--overridden).";

/// Change settings: validated, applied, read back, and rolled back where any part fails
///
/// Shows the difference first and, on a terminal, asks. What would hurt is refused with its reason, and with the option
/// that allows it where one may. What was before is in the log: see `ctnl tune revert`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    values: ValueArgs,

    /// Also at every boot: write /etc/sysctl.d/90-ctnl.conf, /etc/modprobe.d/ctnl.conf, /etc/modules-load.d/ctnl.conf
    #[arg(long, conflicts_with = "netns")]
    persist: bool,

    /// Roll back by itself unless confirmed within TIME (Enter on the terminal, or `ctnl tune confirm`)
    ///
    /// A process of its own does it, also when the console is cut off. Files of --persist are written at the
    /// confirmation, so that a reboot before undoes everything. Without a terminal the command returns at once.
    #[arg(long, value_name = "TIME", value_parser = confirm_time)]
    confirm_within: Option<u64>,

    /// Also lower the timeouts of existing entries to the new ones, which the kernel does not
    ///
    /// As `ctnl update --cap-timeout`: an entry that has more left gets the new timeout, and a live flow's next packet
    /// sets its own. It cannot be rolled back, and is done last, after the confirmation.
    #[arg(long, conflicts_with = "root")]
    existing: bool,

    /// Show what would be changed, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// Allow a table that needs more than half of the memory when it is full
    #[arg(long)]
    beyond_memory: bool,

    /// Allow a maximum below the number of entries
    #[arg(long)]
    below_count: bool,

    /// Allow a maximum of 0, no limit, where the kernel does
    #[arg(long)]
    unlimited: bool,

    /// Allow buckets so few that a full table has chains of more than 32
    #[arg(long)]
    long_chains: bool,

    /// Allow timeouts that end live flows, or keep dead ones for more than ten days
    #[arg(long)]
    any_timeout: bool,

    /// Write the files of --persist also where another file overrides them at boot (exit code 3)
    #[arg(long, requires = "persist")]
    overridden: bool,

    #[command(flatten)]
    target: TargetArgs,
}

/// A time to confirm within: from 5 s to a day.
pub fn confirm_time(text: &str) -> Result<u64, String> {
    let Seconds(seconds) = text.parse().map_err(|error: ctnl::units::QuantityError| error.to_string())?;
    if (5..=86_400).contains(&seconds) { Ok(seconds) } else { Err(format!("{text} is not in 5s..=1d")) }
}

/// What is going to be changed.
#[derive(Debug, Default)]
struct Plan {
    changes: Vec<Change>,
    files: BootPlan,
    existing: Vec<(String, u64)>,
    entries: Option<u64>,
    notes: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let values = args.values.values()?;
    let target = args.target.target(host)?;
    let log = Log::of(&target.host);
    let mut console = args.target.common.console();
    pending::warn(&target, &log, &mut console, None)?;
    let plan = args.plan(&target, &values)?;
    let interrupt = Interrupt::listen()?;
    let common = &args.target.common;
    let preview = existing::cap(&plan.existing, common, true, &target.host, &interrupt, &mut console);
    args.show(&plan, &preview, &mut console)?;
    let outcome = Outcome {
        command: "set",
        dry_run: args.dry_run,
        changes: plan.changes.iter().chain(&plan.files.changes).cloned().collect(),
        overridden: plan.files.overridden.clone(),
        notes: plan.notes.clone(),
        ..Outcome::default()
    };
    if args.dry_run {
        return Outcome { existing: preview, ..outcome }.report(&mut console, args.target.json);
    }
    let mut env = Env { target: &target, log: &log, common, console: &mut console, interrupt: &interrupt };
    let outcome = args.carry_out(plan, &preview, outcome, &mut env)?;
    outcome.report(&mut console, args.target.json)
}

impl Args {
    /// Asks, and runs the operation.
    fn carry_out(&self, plan: Plan, preview: &[Capped], outcome: Outcome, env: &mut Env<'_>) -> Result<Outcome> {
        let is_empty = plan.changes.is_empty() && plan.files.changes.is_empty();
        if is_empty && preview.iter().all(|capped| capped.share().0 == 0) {
            return Ok(outcome);
        }
        self.stop_where_nobody_is_asked(preview, env.console)?;
        if !ask::may_begin(env.console, self.yes, env.interrupt)? {
            return Err(anyhow::anyhow!("nothing was changed"));
        }
        if is_empty {
            let existing =
                existing::cap(&plan.existing, env.common, false, &env.target.host, env.interrupt, env.console);
            return Ok(Outcome { existing, ..outcome });
        }
        let (mut changes, mut on_confirm) = (plan.changes, plan.files.changes);
        if self.confirm_within.is_none() {
            changes.append(&mut on_confirm);
        }
        let job = Job {
            command: "set",
            changes,
            changes_on_confirm: on_confirm,
            confirm_within: self.confirm_within,
            existing: plan.existing,
            entries: plan.entries,
            ..Job::default()
        };
        env.run(job, outcome)
    }

    /// As a flush and an update do.
    fn stop_where_nobody_is_asked(&self, preview: &[Capped], console: &Console) -> Result<()> {
        let (chosen, seen) =
            preview.iter().map(Capped::share).fold((0, 0), |(sum, _), (chosen, seen)| (sum + chosen, seen));
        if self.yes || console.can_ask() || seen < SMALL_TABLE || chosen * 100 <= seen * STOP_ABOVE {
            return Ok(());
        }
        Err(usage(format!(
            "--existing would lower the timeouts of {chosen} of {seen} entries ({}), and there is no terminal to ask on: \
             nothing was changed\n  hint: allow it with --yes",
            percent(chosen, seen)
        )))
    }

    fn plan(&self, target: &Target, values: &[(Setting, u64)]) -> Result<Plan> {
        let mut places = target.places();
        let now = read_now(&mut places, values)?;
        self.refuse_absent(target, &now)?;
        refuse_read_only(target, &places, &now)?;
        let memory = TableMemory::read(&target.host);
        let entries = entries(&mut places, target, values);
        let sizes = sizes(&mut places, values, entries);
        let verdict = judge(values, &sizes, &memory, self.words());
        refuse(&verdict.refusals)?;
        let mut plan = Plan { entries, notes: verdict.notes, ..Plan::default() };
        plan.changes = changes(target, &memory, &now);
        if self.existing {
            plan.existing = existing::timeouts(values);
        }
        if self.persist {
            plan.files = plan_files(&target.host, &mut places, values, sizes.max_now)
                .map_err(|error| anyhow::anyhow!("--persist: {error}"))?;
            plan.notes.append(&mut plan.files.notes);
            self.refuse_overridden(&plan.files.overridden)?;
        }
        Ok(plan)
    }

    fn words(&self) -> Words {
        Words {
            beyond_memory: self.beyond_memory,
            below_count: self.below_count,
            unlimited: self.unlimited,
            long_chains: self.long_chains,
            any_timeout: self.any_timeout,
        }
    }

    /// A setting that does not exist: of an image, only the file is written.
    fn refuse_absent(&self, target: &Target, now: &[(Setting, u64, Option<u64>)]) -> Result<()> {
        let absent: Vec<_> = now.iter().filter(|(.., now)| now.is_none()).map(|(setting, ..)| setting.key()).collect();
        if absent.is_empty() || self.persist && !target.is_live() {
            return Ok(());
        }
        let names = absent.join(", ");
        let hint = match (target.is_live(), absent.len() == now.len()) {
            (false, _) => "an image has no settings, only files: write them with --persist",
            (true, true) => "the module is not loaded: modprobe nf_conntrack; or /proc is not mounted",
            (true, false) => "this kernel does not have it, or not in this network namespace",
        };
        Err(usage(format!("there is no sysctl {names}: nothing was changed\n  hint: {hint}")))
    }

    fn refuse_overridden(&self, overridden: &[String]) -> Result<()> {
        if overridden.is_empty() || self.overridden {
            return Ok(());
        }
        Err(usage(format!(
            "--persist: the next boot would not give these values, so nothing was changed:\n  {}\n  hint: change or remove \
             that line; or write the files nevertheless with --overridden",
            overridden.join("\n  ")
        )))
    }

    fn show(&self, plan: &Plan, preview: &[Capped], console: &mut Console) -> Result<()> {
        for note in &plan.notes {
            console.note(&format!("note: {note}"));
        }
        for overridden in &plan.files.overridden {
            console.warn(&format!("at boot this decides, and not what is written now: {overridden}"));
        }
        let all: Vec<_> = plan.changes.iter().chain(&plan.files.changes).cloned().collect();
        let mut text = diff_text(&all);
        for capped in preview.iter().filter(|_| !self.dry_run) {
            text.push_str(&format!("{}\n", capped.text()));
        }
        match (self.dry_run, self.target.json) {
            (true, true) => Ok(()),
            (true, false) => print(&text),
            (false, _) => {
                show_before(text.trim_end(), self.yes, console);
                Ok(())
            }
        }
    }
}

/// Each setting with its new value and the one now; `None` where there is no such sysctl.
fn read_now(places: &mut HostPlaces, values: &[(Setting, u64)]) -> Result<Vec<(Setting, u64, Option<u64>)>> {
    let read = |(setting, value): &(Setting, u64)| Ok((*setting, *value, number(places, *setting)?));
    values.iter().map(read).collect()
}

fn number(places: &mut HostPlaces, setting: Setting) -> Result<Option<u64>> {
    let text = places.read(Place::Sysctl(setting));
    let text = text.map_err(|error| anyhow::anyhow!("read {}: {error}", setting.path()))?;
    let parse =
        |text: String| text.parse().map_err(|_| anyhow::anyhow!("{} has '{text}': expected a number", setting.path()));
    text.map(parse).transpose()
}

/// Names the settings that this namespace may not set, each with the error of the kernel and where it is set.
fn refuse_read_only(target: &Target, places: &HostPlaces, now: &[(Setting, u64, Option<u64>)]) -> Result<()> {
    let exist = now.iter().filter(|(.., now)| now.is_some());
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
fn changes(target: &Target, memory: &TableMemory, now: &[(Setting, u64, Option<u64>)]) -> Vec<Change> {
    let mut changes: Vec<_> = now
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

fn sizes(places: &mut HostPlaces, values: &[(Setting, u64)], entries: Option<u64>) -> Sizes {
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
fn entries(places: &mut HostPlaces, target: &Target, values: &[(Setting, u64)]) -> Option<u64> {
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
