//! `ctnl update`.

use anyhow::Result;
use clap::ArgGroup;
use ctnl::host::Host;
use ctnl::model::{Status, TcpState};
use ctnl::table::{Masked, Patch, TcpPatch};

use super::args::{CommonArgs, FilterArgs};
use super::{entry_values, purging};
use crate::purge::Task;
use crate::term::exit::{Exit, usage};

const EXAMPLES: &str = "\
Examples:
  ctnl update --state established --cap-timeout 1h --dry-run
      Preview by state and source. Nothing is changed.
  ctnl update --state established --cap-timeout 1h
      Lower the remaining timeout to an hour where it is longer. A live flow's next packet restores its own.
  ctnl update 'tcp and dport 443 and mark 0' --set-mark 0x10/0xff
      Set the lower eight bits of the mark, leave the others.
  ctnl update 'udp and dport 5060' --label-add 3 --label-del 4
      Set and clear connection labels, of entries that were created while a rule used labels.

An entry that is already as wanted is left and counted. What the kernel lets nobody change is refused: tuples,
zone, NAT, a status bit that is set, another helper.
Exit codes: 0 done, also when nothing matched; 1 failed; 2 bad usage, nothing was
changed; 3 partly done.";

/// Change the entries that match: mark, timeout, status, TCP state, labels
///
/// ctnl evaluates the same filter as list and count, entry by entry, and changes each entry by its
/// whole tuple and zone. Your own SSH session is spared. What may shorten the life of an entry (a timeout, a state, a
/// fixed timeout, removing a helper) is asked for and stopped like a flush: on a terminal, it asks before it changes a large
/// part of the table; without one, it stops (exit 2, nothing changed) before more than 90 % of a table of at
/// least 100 entries, unless the filter requires an idle time or --yes or --all is given.
///
/// The kernel has no conditional update either: an entry that was read more than 50 ms ago (mostly 0.3 ms) is read again
/// first, and the summary has the longest time that was measured. Of several changes, an entry may get only some where the
/// kernel refuses one; the summary counts these.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
#[command(group = ArgGroup::new("change").required(true).multiple(true)
    .args(["set_mark", "set_timeout", "cap_timeout", "set_status", "set_state", "label_add", "label_del", "set_helper"]))]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,

    /// Set the mark, or with a mask these bits of it (0x10/0xff)
    #[arg(long, value_name = "MARK[/MASK]", value_parser = entry_values::masked)]
    set_mark: Option<Masked>,

    /// Set the remaining timeout to TIME (30s, 1h, or seconds), also where it is shorter
    #[arg(long, value_name = "TIME", value_parser = entry_values::timeout)]
    set_timeout: Option<u32>,

    /// Lower remaining timeouts that are longer than TIME to it; not with other changes
    #[arg(long, value_name = "TIME", value_parser = entry_values::timeout,
          conflicts_with_all = ["set_mark", "set_timeout", "set_status", "set_state", "label_add", "label_del", "set_helper"])]
    cap_timeout: Option<u32>,

    /// Add status bits: assured, seen-reply, fixed-timeout, helper. No bit can be cleared
    #[arg(long, value_name = "BIT[,BIT…]", value_parser = entry_values::status)]
    set_status: Option<Status>,

    /// Set the TCP state, e.g. established; entries of other protocols are skipped
    #[arg(long, value_name = "STATE", value_parser = entry_values::tcp_state)]
    set_state: Option<TcpState>,

    /// Set labels, by number or by name of connlabel.conf
    #[arg(long, value_name = "LABEL[,LABEL…]")]
    label_add: Option<String>,

    /// Clear labels
    #[arg(long, value_name = "LABEL[,LABEL…]")]
    label_del: Option<String>,

    /// Remove the helper (none, the only value: the kernel gives an existing entry no other helper)
    #[arg(long, value_name = "none", value_parser = no_helper)]
    set_helper: Option<()>,

    /// Allow changing every entry (an empty or match-all filter)
    #[arg(long)]
    all: bool,

    /// Preview by state and source, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Change at most N entries
    #[arg(long, value_name = "N")]
    max: Option<u64>,

    /// Do not spare your own SSH session
    #[arg(long)]
    no_spare_ssh: bool,

    /// Do not ask, and do not stop before shortening the lives of most of the table
    #[arg(long, short)]
    yes: bool,

    /// On a terminal, ask before shortening the lives of more than PERCENT of the table
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    ask_above: u8,

    /// Summary as JSON on stdout
    #[arg(long)]
    json: bool,

    /// Exit with 1 when nothing matched
    #[arg(long)]
    fail_if_none: bool,

    #[command(flatten)]
    common: CommonArgs,
}

fn no_helper(text: &str) -> Result<(), String> {
    if text == "none" {
        return Ok(());
    }
    Err(format!(
        "the kernel gives an entry that exists no helper '{text}': expected none, which removes its own; `ctnl add \
         --helper` creates an entry with one"
    ))
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let request = purging::Request {
        command: "update",
        task: args.task(host)?,
        filter: &args.filter,
        all: args.all,
        dry_run: args.dry_run,
        max: args.max,
        save: None,
        no_spare_ssh: args.no_spare_ssh,
        yes: args.yes,
        ask_above: args.ask_above,
        json: args.json,
        fail_if_none: args.fail_if_none,
        common: &args.common,
    };
    purging::run(&request, host)
}

impl Args {
    fn task(&self, host: &Host) -> Result<Task> {
        if let Some(seconds) = self.cap_timeout {
            return Ok(Task::CapTimeout(seconds));
        }
        let labels = |flag: &str, text: &Option<String>| {
            let labels = text.as_deref().map(|text| entry_values::labels(text, host)).transpose();
            labels.map(Option::unwrap_or_default).map_err(|error| usage(format!("--{flag}: {error}")))
        };
        let (add_labels, remove_labels) =
            (labels("label-add", &self.label_add)?, labels("label-del", &self.label_del)?);
        if add_labels.bits() & remove_labels.bits() != 0 {
            return Err(usage("--label-add and --label-del have a label in common"));
        }
        Ok(Task::Update(Patch {
            timeout: self.set_timeout,
            mark: self.set_mark,
            add_status: self.set_status.unwrap_or(Status::empty()),
            tcp: TcpPatch { state: self.set_state, ..TcpPatch::default() },
            sctp: None,
            add_labels,
            remove_labels,
            remove_helper: self.set_helper.is_some(),
        }))
    }
}
