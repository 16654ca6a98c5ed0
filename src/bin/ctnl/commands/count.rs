//! `ctnl count`.

use std::ops::ControlFlow;

use anyhow::Result;
use ctnl::field::Subject;
use ctnl::group::{Group, GroupError, Groups};
use ctnl::host::Host;
use ctnl::netlink::Connection;
use ctnl::table::{self, DumpRequest, DumpTotals, Occupancy};
use serde_json::{Map, Value, json};

use super::args::{CommonArgs, FilterArgs, ScanArgs};
use super::report;
use crate::scan::two_sockets::{halves, may_split, walk_halves};
use crate::scan::{Selection, Watch, sample_and_wait, walk_matches};
use crate::term::columns::Columns;
use crate::term::console::{Console, percent};
use crate::term::exit::{Exit, nth_item_span, usage_at};
use crate::term::interrupt::Interrupt;
use crate::term::stdout::print;

const EXAMPLES: &str = "\
Examples:
  ctnl count
      Entries in the table, without a dump; the maximum is printed to stderr.
  ctnl count 'udp and unreplied'
      Entries that match.
  ctnl count --by state
      By state; EVICTABLE are entries that the kernel may drop from a full table (early_drop).
  ctnl count --by src,dport --top 20 --json
      The largest groups, one JSON object per line.";

/// Count entries, all or those that match, or by field
///
/// Without a filter, the number comes from the kernel's own counter, which includes
/// expired entries that are not yet collected. With one, ctnl dumps the table.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,

    /// Count by these fields, largest group first
    #[arg(long, short, value_name = "FIELD,…")]
    by: Option<String>,

    /// Show the N largest groups
    #[arg(long, value_name = "N", requires = "by")]
    top: Option<usize>,

    /// JSON on stdout
    #[arg(long)]
    json: bool,

    /// Exit with 1 when nothing matched
    #[arg(long)]
    fail_if_none: bool,

    #[command(flatten)]
    scan: ScanArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let filter = args.filter.filter(host)?;
    let timeouts = args.filter.timeout_options()?;
    let groups = args.by.as_deref().map(groups).transpose()?;
    let mut console = args.common.console();
    let mut connection = args.common.connect()?;
    if filter.is_empty() && groups.is_none() && args.filter.confirm_idle.is_none() {
        return count_all(args, &mut connection, &mut console);
    }
    let interrupt = Interrupt::listen(host)?;
    let occupancy = table::count(&mut connection).unwrap_or_default();
    let mut watch = Watch::new(&mut console, &interrupt, host, occupancy.entries.into());
    let mut selection = Selection::new(filter, &mut connection, host, &timeouts, false)?;
    if let Some(seconds) = args.filter.confirm_idle
        && !sample_and_wait(&mut connection, &mut selection, &mut watch, seconds)?
    {
        return Ok(Exit::Partly);
    }
    let mut counting = Counting { groups, counted: 0 };
    let request = args.scan.request(selection.filter());
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
    let is_resized = watch.warn_if_resized();
    counting.print(args, &selection, totals, is_interrupted, is_resized)?;
    summarize(&mut console, &counting, &selection, totals, occupancy);
    if occupancy.entries == 0 && totals.entries == 0 {
        report::note_empty(&mut console);
    }
    if is_interrupted {
        console.warn("interrupted before the end of the table");
    }
    Ok(match (is_interrupted || is_resized, counting.counted) {
        (true, _) => Exit::Partly,
        (_, 0) if args.fail_if_none => Exit::Failed,
        _ => Exit::Done,
    })
}

fn groups(by: &str) -> Result<Groups> {
    Groups::by(by).map_err(|error| {
        let at = match &error {
            GroupError::Unknown(name) => nth_item_span(by, name, 0),
            GroupError::NotGroupable(name) => nth_item_span(by, name, 0),
            GroupError::Twice(name) => nth_item_span(by, name, 1),
            _ => 0..by.len(),
        };
        usage_at("--by", by, at, &error.to_string(), &format!("\n  hint: {}", error.hint()))
    })
}

fn count_all(args: &Args, connection: &mut Connection, console: &mut Console) -> Result<Exit> {
    let Occupancy { entries, max } = table::count(connection)?;
    if args.json {
        print(format!("{}\n", json!({ "v": 1, "entries": entries, "max": max })))?;
    } else {
        print(format!("{entries}\n"))?;
    }
    if let Some(max) = max.filter(|max| *max > 0) {
        console.note(&format!("{entries} of {max} entries ({})", percent(entries.into(), max.into())));
    }
    if entries == 0 {
        report::note_empty(console);
    }
    Ok(if entries == 0 && args.fail_if_none { Exit::Failed } else { Exit::Done })
}

struct Counting {
    groups: Option<Groups>,
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
        self.scan.halves(console, || {
            if self.by.is_some() || self.filter.confirm_idle.is_some() {
                return Err("--by and --confirm-idle use one");
            }
            may_split(selection.filter(), request)
        })
    }
}

impl Counting {
    fn add(&mut self, subject: &Subject<'_>) -> ControlFlow<()> {
        self.counted += 1;
        if let Some(groups) = &mut self.groups {
            groups.add(subject);
        }
        ControlFlow::Continue(())
    }

    fn print(
        &self,
        args: &Args,
        selection: &Selection,
        totals: DumpTotals,
        interrupted: bool,
        resized: bool,
    ) -> Result<()> {
        match (&self.groups, args.json) {
            (None, false) => print(format!("{}\n", self.counted)),
            (None, true) => {
                let undecided: Map<String, Value> =
                    selection.tally.undecided.iter().map(|(why, count)| (why.name().into(), (*count).into())).collect();
                let document = json!({ "v": 1, "entries": self.counted, "seen": totals.entries, "undecided": undecided,
                    "unconfirmed": selection.tally.unconfirmed, "interrupted": interrupted, "resized": resized });
                print(format!("{document}\n"))
            }
            (Some(groups), json) => {
                let top = groups.top(args.top.unwrap_or(usize::MAX));
                let lines = if json { as_json(groups, &top) } else { as_table(groups, &top) };
                print(&lines)
            }
        }
    }
}

fn summarize(
    console: &mut Console,
    counting: &Counting,
    selection: &Selection,
    totals: DumpTotals,
    occupancy: Occupancy,
) {
    let mut line = format!("{} matched, {} entries seen", selection.tally.matched, totals.entries);
    if let Some(groups) = &counting.groups {
        line += &format!(", {} groups, {} evictable", groups.len(), groups.total().evictable);
    }
    if let Some(max) = occupancy.max.filter(|max| *max > 0) {
        line += &format!("; table {} of {max} ({})", occupancy.entries, percent(occupancy.entries.into(), max.into()));
    }
    console.note(&line);
    report::print_undecided(console, &selection.tally);
}

fn as_table(groups: &Groups, top: &[Group<'_>]) -> String {
    let with_traffic = groups.total().counted > 0;
    let mut heads: Vec<String> = ["ENTRIES", "SHARE", "EVICTABLE"].map(String::from).to_vec();
    if with_traffic {
        heads.extend(["PACKETS".into(), "BYTES".into()]);
    }
    let numbers = heads.len();
    heads.extend(groups.fields().iter().map(|field| field.name.to_ascii_uppercase()));
    let mut columns = Columns::new(heads, numbers);
    for group in top {
        let totals = &group.totals;
        let mut row = vec![
            totals.entries.to_string(),
            percent(totals.entries, groups.total().entries),
            totals.evictable.to_string(),
        ];
        if with_traffic {
            row.extend([totals.packets.to_string(), totals.bytes.to_string()]);
        }
        row.extend(group.values.iter().map(ToString::to_string));
        columns.push(row);
    }
    columns.to_text()
}

fn as_json(groups: &Groups, top: &[Group<'_>]) -> String {
    let object = |group: &Group<'_>| {
        let mut object = Map::new();
        object.insert("v".into(), 1.into());
        for (field, value) in groups.fields().iter().zip(&group.values) {
            object.insert(field.name.into(), json_value(value));
        }
        object.insert("entries".into(), group.totals.entries.into());
        object.insert("share".into(), json!(group.share));
        object.insert("evictable".into(), group.totals.evictable.into());
        if group.totals.counted > 0 {
            object.insert("packets".into(), group.totals.packets.into());
            object.insert("bytes".into(), group.totals.bytes.into());
        }
        format!("{}\n", Value::Object(object))
    };
    top.iter().map(object).collect()
}

fn json_value(value: &ctnl::field::Value<'_>) -> Value {
    match value {
        ctnl::field::Value::Absent => Value::Null,
        ctnl::field::Value::Undecided(why) => json!({ "undecided": why.name() }),
        ctnl::field::Value::Number(number) => (*number).into(),
        other => other.to_string().into(),
    }
}
