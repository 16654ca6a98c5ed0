//! `ctnl tune set`.

use anyhow::Result;
use ctnl::host::Host;
use ctnl::units::Seconds;

use super::ask;
use super::existing::{self, Capped};
use super::pending;
use super::plan::{Plan, PlanOptions};
use super::report::{Outcome, diff_text, show_diff};
use super::run::{Env, Job};
use super::set_args::ValueArgs;
use super::target::{Opened, TargetArgs};
use crate::term::console::{Console, percent};
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;
use crate::tune::Words;

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

    /// Roll back by itself unless confirmed within TIME (`y` on the terminal, or `ctnl tune confirm`)
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

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let values = args.values.values()?;
    let Opened { target, log, mut console } = args.target.open(host)?;
    pending::warn(&target, &log, &mut console, None)?;
    let options = args.plan_options();
    let plan = Plan::make(&target, &values, options)?;
    let interrupt = Interrupt::listen()?;
    let common = &args.target.common;
    let preview = existing::cap(&plan.existing, &target, common, true, &interrupt, &mut console);
    args.show(&plan, &preview, &mut console)?;
    let outcome = Outcome {
        command: "set",
        dry_run: args.dry_run,
        changes: plan.changes.iter().chain(&plan.files.changes).cloned().collect(),
        max_at_boot: plan.files.max.clone(),
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
        if is_empty && self.confirm_within.is_some() {
            return Err(usage(
                "the settings are as wanted already, and the timeouts of existing entries cannot be rolled back: nothing was \
                 changed\n  hint: leave out --confirm-within",
            ));
        }
        self.stop_where_nobody_is_asked(preview, env.console)?;
        if !ask::may_begin(env.console, self.yes, env.interrupt)? {
            return Err(anyhow::anyhow!("nothing was changed"));
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

    fn plan_options(&self) -> PlanOptions {
        let words = Words {
            beyond_memory: self.beyond_memory,
            below_count: self.below_count,
            unlimited: self.unlimited,
            long_chains: self.long_chains,
            any_timeout: self.any_timeout,
        };
        PlanOptions { words, persist: self.persist, existing: self.existing, overridden: self.overridden }
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
        if let Some(max) = &plan.files.max {
            text.push_str(&format!("max at boot: {}\n", max.text()));
        }
        for capped in preview.iter().filter(|_| !self.dry_run) {
            text.push_str(&format!("{}\n", capped.text()));
        }
        show_diff(&text, self.dry_run, self.target.json, self.yes, console)
    }
}
