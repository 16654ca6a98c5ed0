//! `ctnl count`.

mod all_netns;
mod groups;

use std::ops::ControlFlow;

use anyhow::Result;
use ctnl::field::Subject;
use ctnl::host::Host;
use ctnl::table::{self, DumpRequest, Occupancy};
use serde_json::{Map, Value, json};

use self::groups::Grouping;
use super::read::{ReadArgs, Reading, Walked};
use super::report;
use crate::scan::two_sockets::{halves, may_split, walk_halves};
use crate::scan::{Selection, walk_matches};
use crate::term::console::{Console, percent};
use crate::term::exit::Exit;
use crate::term::stdout::print;

const EXAMPLES: &str = "\
Examples:
  ctnl count
      Entries in the table, without a dump; the maximum is printed to stderr.
  ctnl count 'udp and unreplied'
      Entries that match.
  ctnl count --by state
      By protocol and state: TCP and SCTP have states of the same names.
  ctnl count --by addr --top 10
      The addresses with most entries, at either end.
  ctnl count --by src/24 --sort bytes --top 10
      The ten IPv4 /24 and IPv6 /64 networks with the most bytes.
  ctnl count --by src,dport --top 20 --json
      The largest groups, one JSON object per line (docs/summary.md).
  ctnl count --all-netns --by src --top 10 tcp and unreplied
      The ten largest groups of all network namespaces, with the namespace of each.

EVICTABLE are entries that are not ASSURED. A full table does not take them from anywhere: for
the first packet of a new flow, the kernel looks at 8 hash buckets at most, that of the flow and
those behind it, and deletes what is not ASSURED in the first of them that has any (early_drop in
net/netfilter/nf_conntrack_core.c). Where these have none, the packet is dropped, however many
there are in other buckets. The next run of the garbage collector (gc_worker) then deletes such
entries, and closing TCP and SCTP connections, while the table is above 95 % of its maximum.

PACKETS and BYTES are sums of entries that were created while nf_conntrack_acct was 1 (counted).
Where no entry was, there are no such columns, unless groups are sorted by packets or bytes. `?`:
no entry of the group was counted. `123+`: some were not.";

/// Count entries, all or those that match, or by field
///
/// Without a filter, the number comes from the kernel's own counter, which includes
/// expired entries that are not yet collected. With one, ctnl dumps the table.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Count by these fields, or networks of addresses (src/24), largest group first
    ///
    /// src/24 groups IPv4 addresses by /24 and IPv6 addresses by /64; src/48 IPv6 addresses by
    /// /48; src/16/48 both. With addr, any-addr and nat-addr an entry is in the group of each of its
    /// addresses, so shares add up to more than 100 %. With state, the protocol is in front of it. One
    /// counter for each group is kept in memory.
    #[arg(long, short, value_name = "FIELD[/BITS],…")]
    by: Option<String>,

    /// Sort groups by entries, evictable, packets, bytes (largest first) or a field of --by (smallest first)
    ///
    /// KEY:asc and KEY:desc choose the direction. Groups whose value is unknown come last.
    #[arg(long, value_name = "KEY[:asc|:desc]", requires = "by")]
    sort: Option<String>,

    /// Show the first N groups
    #[arg(long, value_name = "N", requires = "by")]
    top: Option<usize>,

    /// Count in each network namespace of the host: a row for each, and with --by a column NETNS
    ///
    /// Shares and --top are of all namespaces. The sum is printed to stderr.
    #[arg(long, conflicts_with_all = ["netns", "jobs", "confirm-idle"])]
    all_netns: bool,

    /// JSON on stdout
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    read: ReadArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let criteria = args.read.criteria(host)?;
    let grouping = args.by.as_deref().map(|by| Grouping::parse(by, args.sort.as_deref(), args.top)).transpose()?;
    if args.all_netns {
        return all_netns::run(args, &criteria, grouping, host);
    }
    if criteria.filter.is_empty() && grouping.is_none() && args.read.filter.confirm_idle.is_none() {
        return count_all(args);
    }
    args.read.read(criteria, false, host, |reading| count(args, grouping, reading))
}

fn count_all(args: &Args) -> Result<Exit> {
    let Occupancy { entries, max } = table::count(&mut args.read.common.connect()?)?;
    if args.json {
        print(format!("{}\n", json!({ "v": 1, "entries": entries, "max": max })))?;
    } else {
        print(format!("{entries}\n"))?;
    }
    let mut console = args.read.common.console();
    if let Some(max) = max.filter(|max| *max > 0) {
        console.note(&format!("{entries} of {max} entries ({})", percent(entries.into(), max.into())));
    }
    if entries == 0 {
        report::note_empty(&mut console);
    }
    Ok(if entries == 0 && args.read.fail_if_none { Exit::Failed } else { Exit::Done })
}

fn count(args: &Args, grouping: Option<Grouping>, reading: Reading<'_>) -> Result<Exit> {
    let Reading { mut connection, mut selection, mut watch, occupancy } = reading;
    let mut counting = Counting { grouping, counted: 0 };
    let request = args.read.scan.request(selection.filter());
    let (totals, is_interrupted) = match args.may_use_two_jobs(&selection, request, watch.console) {
        Some(requests) => {
            let other = connection.reopen()?;
            let halves = halves(requests, [connection, other], &selection, [(), ()]);
            let (walked, _) = walk_halves(halves, &mut selection, &mut watch);
            counting.counted = selection.tally.matched;
            walked?
        }
        None => {
            let count = |subject: &Subject<'_>| counting.add(subject);
            let (walked, is_interrupted) = walk_matches(&mut connection, request, &mut selection, &mut watch, count)?;
            (walked.totals, is_interrupted)
        }
    };
    let walked = Walked { totals, is_interrupted, is_resized: watch.warn_if_resized() };
    counting.print(args.json, &selection, walked)?;
    counting.summarize(watch.console, &selection, walked, occupancy);
    Ok(args.read.exit(&mut watch, walked, counting.counted))
}

struct Counting {
    grouping: Option<Grouping>,
    counted: u64,
}

impl Args {
    /// The two halves to dump, where --jobs 2 is given; `None` with a note where that would change the count.
    fn may_use_two_jobs(
        &self,
        selection: &Selection,
        request: DumpRequest,
        console: &mut Console,
    ) -> Option<[DumpRequest; 2]> {
        self.read.scan.halves(console, || {
            if self.by.is_some() || self.read.filter.confirm_idle.is_some() {
                return Err("--by and --confirm-idle use one");
            }
            may_split(selection.filter(), request)
        })
    }
}

impl Counting {
    fn add(&mut self, subject: &Subject<'_>) -> ControlFlow<()> {
        self.counted += 1;
        self.grouping.as_mut().map_or(ControlFlow::Continue(()), |grouping| grouping.add(subject))
    }

    fn print(&self, as_json: bool, selection: &Selection, walked: Walked) -> Result<()> {
        match (&self.grouping, as_json) {
            (None, false) => print(format!("{}\n", self.counted)),
            (None, true) => print(format!("{}\n", self.document(selection, walked))),
            (Some(grouping), _) => grouping.print(as_json),
        }
    }

    fn document(&self, selection: &Selection, walked: Walked) -> Value {
        let undecided: Map<String, Value> =
            selection.tally.undecided.iter().map(|(why, count)| (why.name().into(), (*count).into())).collect();
        json!({ "v": 1, "entries": self.counted, "seen": walked.totals.entries, "undecided": undecided,
            "unconfirmed": selection.tally.unconfirmed, "interrupted": walked.is_interrupted,
            "resized": walked.is_resized })
    }

    fn summarize(&self, console: &mut Console, selection: &Selection, walked: Walked, occupancy: Occupancy) {
        let mut line = format!("{} matched, {} entries seen", selection.tally.matched, walked.totals.entries);
        if let Some(grouping) = &self.grouping {
            line += &grouping.summary();
        }
        if let Some(max) = occupancy.max.filter(|max| *max > 0) {
            let part = percent(occupancy.entries.into(), max.into());
            line += &format!("; table {} of {max} ({part})", occupancy.entries);
        }
        console.note(&line);
        report::print_undecided(console, &selection.tally);
        for note in self.grouping.iter().flat_map(Grouping::notes) {
            console.note(&note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `Grouping` shows them.
    #[test]
    fn the_help_names_the_order_with_which_there_are_columns_of_unknown_sums() {
        let help = EXAMPLES.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("there are no such columns, unless groups are sorted by packets or bytes"), "{help}");
    }
}
