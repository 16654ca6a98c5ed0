//! `ctnl list`.

use anyhow::Result;
use ctnl::field::field;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::netlink::Connection;
use ctnl::output::{Format, Writer};
use ctnl::table::{DumpRequest, DumpSource, DumpTotals};

use super::direction::split_direction;
use super::format::{Chosen, FormatArgs, hint_for};
use super::read::{ReadArgs, Reading, Walked};
use super::report;
use crate::scan::two_sockets::{Part, SharedPrinter, halves, may_split, walk_halves};
use crate::scan::{Order, Printed, Printer, Selection, Unsorted, Watch, walk_matches};
use crate::term::console::Console;
use crate::term::exit::{Exit, usage, usage_at};
use crate::term::stdout::Delivered;

const EXAMPLES: &str = "\
Examples:
  ctnl list tcp and dport 443 and idle \\> 10m
      HTTPS connections that have certainly been idle for ten minutes.
  ctnl list 'addr 10.0.0.0/8 and not nat any' --sort bytes:desc --limit 20
      The twenty largest flows of 10.0.0.0/8 without NAT.
  ctnl list -o conntrack | grep -c ASSURED
      conntrack(8)'s lines, byte for byte (also the default into a pipe).
  ctnl list -o json --state established | jq -r .orig.src
      One JSON object a line; docs/json.md has the schema.
  ctnl list -o csv --columns src,dst,dport,state,idle > table.csv
      For a spreadsheet.";

/// List entries
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    format: FormatArgs,

    /// Sort by a field; `FIELD:desc` puts the largest first, and unknown values come last
    ///
    /// All matching entries are kept in memory, with --limit N some 2 N of them. Values that are unknown, or
    /// known as a lower bound only, are counted on stderr with the reason.
    #[arg(long, value_name = "FIELD[:desc]")]
    sort: Option<String>,

    /// Show at most N entries
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u64>,

    /// The list to show
    ///
    /// Entries of the dying list have been destroyed, and their event could not be delivered yet; before Linux 6.1 also
    /// those that are being destroyed. The unconfirmed list has those whose first packet has not passed all hooks; Linux
    /// 6.1 and later have none.
    #[arg(long, value_enum, default_value_t = Table::Conntrack, value_name = "TABLE",
          conflicts_with_all = ["jobs", "kernel_filter", "confirm-idle"])]
    table: Table,

    /// Show packets and bytes, and reset those of every entry to 0: asks first
    ///
    /// The kernel reads and resets an entry at once, so that nothing is counted twice or lost in between. What is
    /// not shown then is lost: a reader that ends early (head), an interrupt or a full disk lose the counters of up to two
    /// datagrams of entries (some 270). Resets the whole table, so it takes no filter.
    #[arg(long, conflicts_with_all = ["limit", "jobs", "kernel_filter", "confirm-idle", "table"])]
    zero: bool,

    /// Do not ask before --zero
    #[arg(long, short, requires = "zero")]
    yes: bool,

    #[command(flatten)]
    read: ReadArgs,
}

/// The lists of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Table {
    /// The conntrack table
    Conntrack,
    /// Destroyed entries whose event waits
    Dying,
    /// Entries that are not in the table yet
    Unconfirmed,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let criteria = args.read.criteria(host)?;
    let order = args.sort.as_deref().map(parse_order).transpose()?;
    let chosen = args.format.choose(host)?;
    if args.zero {
        args.refuse_zero(&criteria.filter)?;
    }
    let with_ages = chosen.format.shows_ages || order.is_some();
    args.read.read(criteria, with_ages, host, |reading| list(args, order, chosen, reading))
}

fn list(args: &Args, order: Option<Order>, chosen: Chosen, reading: Reading<'_>) -> Result<Exit> {
    let Reading { mut connection, mut selection, mut watch, .. } = reading;
    let Chosen { format, writer, note } = chosen;
    if let Some(note) = note {
        watch.console.note(note);
    }
    if args.zero && !args.yes {
        let question = format!("Reset the counters of all entries (about {}) to 0?", watch.expected);
        let interrupt = watch.interrupt;
        if !watch.console.ask(&question, || interrupt.requested())? {
            watch.console.warn("nothing was reset");
            return Ok(Exit::Failed);
        }
    }
    let request = DumpRequest { source: args.source(), ..args.read.scan.request(selection.filter()) };
    let (totals, is_interrupted, printed) = match args.may_use_two_jobs(&selection, format, request, watch.console) {
        Some(requests) => list_halves(requests, connection, writer, &mut selection, &mut watch)?,
        None => {
            let mut printer = Printer::new(writer, args.limit, order);
            let walked = walk_matches(&mut connection, request, &mut selection, &mut watch, |entry| printer.add(entry));
            // Also when the walk failed.
            let printed = printer.finish(&selection)?;
            let (walked, is_interrupted) = walked?;
            (walked.totals, is_interrupted, printed)
        }
    };
    let walked = Walked { totals, is_interrupted, is_resized: watch.warn_if_resized() };
    args.summarize(watch.console, &selection, walked, &printed, order);
    if args.table == Table::Unconfirmed && walked.totals.entries == 0 {
        watch.console.note("no unconfirmed entries\n  hint: Linux 6.1 and later keep no list of them");
    }
    Ok(args.read.exit(&mut watch, walked, printed.entries))
}

fn list_halves(
    requests: [DumpRequest; 2],
    connection: Connection,
    mut writer: Writer,
    selection: &mut Selection,
    watch: &mut Watch<'_>,
) -> Result<(DumpTotals, bool, Printed)> {
    let other = connection.reopen()?;
    let printer = SharedPrinter::new(&mut writer);
    let halves = halves(requests, [connection, other], selection, printer.parts(writer));
    let (walked, parts) = walk_halves(halves, selection, watch);
    let entries = parts.map(Part::finish).iter().sum();
    let is_reader_gone = printer.finish()? == Delivered::ReaderGone;
    let (totals, is_interrupted) = walked?;
    Ok((totals, is_interrupted, Printed { entries, is_reader_gone, unsorted: Unsorted::default() }))
}

impl Args {
    fn source(&self) -> DumpSource {
        match self.table {
            Table::Conntrack if self.zero => DumpSource::TableResettingCounters,
            Table::Conntrack => DumpSource::Table,
            Table::Dying => DumpSource::Dying,
            Table::Unconfirmed => DumpSource::Unconfirmed,
        }
    }

    /// The kernel resets every entry that it sends, also those that do not match.
    fn refuse_zero(&self, filter: &Filter) -> Result<()> {
        if !filter.is_empty() {
            return Err(usage(
                "--zero resets the counters of every entry, also of those that do not match\n  hint: leave the filter out, \
                 and select from the output",
            ));
        }
        if !self.yes && !self.read.common.console().can_ask() {
            return Err(usage(
                "--zero destroys the counters of the table, and there is no terminal to ask on: nothing was reset\n  hint: \
                 allow it with --yes",
            ));
        }
        Ok(())
    }

    /// The two halves to dump, where --jobs 2 is given; `None` with a note where that would change the output.
    fn may_use_two_jobs(
        &self,
        selection: &Selection,
        format: &Format,
        request: DumpRequest,
        console: &mut Console,
    ) -> Option<[DumpRequest; 2]> {
        self.read.scan.halves(console, || {
            if self.sort.is_some() || self.limit.is_some() || self.read.filter.confirm_idle.is_some() {
                return Err("--sort, --limit and --confirm-idle use one");
            }
            if !format.has_independent_lines {
                return Err("the lines of this format depend on each other");
            }
            may_split(selection.filter(), request)
        })
    }

    /// Prints the numbers of the walk. A reader that is gone ended the walk, and nothing is printed; only a sorted
    /// list is printed after the walk, so that the numbers of its unknown values are those of the whole table.
    fn summarize(
        &self,
        console: &mut Console,
        selection: &Selection,
        walked: Walked,
        printed: &Printed,
        order: Option<Order>,
    ) {
        if printed.is_reader_gone && order.is_none() {
            return;
        }
        let (seen, repeated) = (walked.totals.entries, walked.totals.repeated);
        if !printed.is_reader_gone {
            console.note(&self.shown_line(selection.tally.matched, seen, printed.entries));
        }
        report::print_undecided(console, &selection.tally);
        for line in order.iter().flat_map(|order| printed.unsorted.lines(order.field)) {
            console.note(&line);
        }
        if repeated > 0 {
            console.detail(&format!("{repeated} entries were dumped twice by the kernel and are shown once"));
        }
    }

    fn shown_line(&self, matched: u64, seen: u64, shown: u64) -> String {
        let at_limit = self.limit.is_some_and(|limit| shown >= limit);
        match (at_limit, shown < matched) {
            (true, false) => format!("{shown} shown (--limit)"),
            (_, true) => format!("{shown} shown of {matched} matched, {seen} entries seen"),
            (false, false) => format!("{matched} matched, {seen} entries seen"),
        }
    }
}

fn parse_order(text: &str) -> Result<Order> {
    let (name, descending) = split_direction(text)?;
    let fault = |what: String, hint: &str| usage_at("--sort", text, 0..name.len(), &what, hint);
    let found = field(name).ok_or_else(|| fault(format!("unknown field '{name}'"), &hint_for(name)))?;
    if !found.sortable {
        return Err(fault(
            format!("field '{name}' may have several values per entry: expected a field with one value"),
            "",
        ));
    }
    Ok(Order { field: found, descending: descending.unwrap_or(false) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_a_field_that_has_one_value() {
        assert!(parse_order("bytes:desc").unwrap().descending);
        for bad in ["bytes:up", "fnord", "addr"] {
            assert!(parse_order(bad).is_err(), "{bad}");
        }
    }
}
