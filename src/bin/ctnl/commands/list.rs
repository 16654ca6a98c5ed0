//! `ctnl list`.

use anyhow::Result;
use ctnl::field::field;
use ctnl::host::Host;
use ctnl::netlink::Connection;
use ctnl::output::{Format, Writer};
use ctnl::table::{DumpRequest, DumpTotals};

use super::direction::split_direction;
use super::format::{Chosen, FormatArgs, hint_for};
use super::read::{ReadArgs, Reading, Walked};
use super::report;
use crate::scan::two_sockets::{Part, SharedPrinter, halves, may_split, walk_halves};
use crate::scan::{Order, Printed, Printer, Selection, Unsorted, Watch, walk_matches};
use crate::term::console::Console;
use crate::term::exit::{Exit, usage_at};
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

    #[command(flatten)]
    read: ReadArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let criteria = args.read.criteria(host)?;
    let order = args.sort.as_deref().map(parse_order).transpose()?;
    let chosen = args.format.choose(host)?;
    let with_ages = chosen.format.shows_ages || order.is_some();
    args.read.read(criteria, with_ages, host, |reading| list(args, order, chosen, reading))
}

fn list(args: &Args, order: Option<Order>, chosen: Chosen, reading: Reading<'_>) -> Result<Exit> {
    let Reading { mut connection, mut selection, mut watch, .. } = reading;
    let Chosen { format, writer, note } = chosen;
    if let Some(note) = note {
        watch.console.note(note);
    }
    let request = args.read.scan.request(selection.filter());
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
