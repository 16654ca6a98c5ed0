//! `ctnl list`.

use anyhow::Result;
use ctnl::field::field;
use ctnl::host::Host;
use ctnl::netlink::Connection;
use ctnl::output::{Format, Writer};
use ctnl::table::{DumpRequest, DumpTotals};

use super::args::{CommonArgs, FilterArgs, ScanArgs};
use super::format::{FormatArgs, hint_for};
use super::report;
use crate::scan::two_sockets::{Part, SharedPrinter, halves, may_split, walk_halves};
use crate::scan::{Order, Printer, Selection, Watch, sample_and_wait, walk_matches};
use crate::term::console::Console;
use crate::term::exit::{Exit, usage_at};
use crate::term::interrupt::Interrupt;

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
    filter: FilterArgs,

    #[command(flatten)]
    format: FormatArgs,

    /// Sort by a field; `FIELD:desc` puts the largest first. All matching entries are kept in memory
    #[arg(long, value_name = "FIELD[:desc]")]
    sort: Option<String>,

    /// Show at most N entries
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u64>,

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
    let order = args.sort.as_deref().map(parse_order).transpose()?;
    let format = args.format.format(host)?;
    let writer = args.format.writer(host)?;
    let with_ages = format.shows_ages || order.is_some();

    let interrupt = Interrupt::listen(host)?;
    let mut console = args.common.console();
    let mut connection = args.common.connect()?;
    let expected = report::expected(&mut connection);
    let mut watch = Watch::new(&mut console, &interrupt, host, expected);
    let mut selection = Selection::new(filter, &mut connection, host, &timeouts, with_ages)?;
    if let Some(seconds) = args.filter.confirm_idle
        && !sample_and_wait(&mut connection, &mut selection, &mut watch, seconds)?
    {
        return Ok(Exit::Partly);
    }
    let request = args.scan.request(selection.filter());
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
    let is_resized = watch.warn_if_resized();
    summarize(&mut console, &selection, totals, printed, args.limit.is_some_and(|limit| printed >= limit));
    if expected == 0 && totals.entries == 0 {
        report::note_empty(&mut console);
    }
    if is_interrupted {
        console.warn("interrupted before the end of the table");
    }
    Ok(match (is_interrupted || is_resized, printed) {
        (true, _) => Exit::Partly,
        (_, 0) if args.fail_if_none => Exit::Failed,
        _ => Exit::Done,
    })
}

fn list_halves(
    requests: [DumpRequest; 2],
    connection: Connection,
    mut writer: Writer,
    selection: &mut Selection,
    watch: &mut Watch<'_>,
) -> Result<(DumpTotals, bool, u64)> {
    let other = connection.reopen()?;
    let printer = SharedPrinter::new(&mut writer);
    let halves = halves(requests, [connection, other], selection, printer.parts(writer));
    let (walked, parts) = walk_halves(halves, selection, watch);
    let printed = parts.map(Part::finish).iter().sum();
    printer.finish()?;
    let (totals, is_interrupted) = walked?;
    Ok((totals, is_interrupted, printed))
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
        self.scan.halves(console, || {
            if self.sort.is_some() || self.limit.is_some() || self.filter.confirm_idle.is_some() {
                return Err("--sort, --limit and --confirm-idle use one");
            }
            if !format.has_independent_lines {
                return Err("the lines of this format depend on each other");
            }
            may_split(selection.filter(), request)
        })
    }
}

fn summarize(console: &mut Console, selection: &Selection, totals: DumpTotals, printed: u64, at_limit: bool) {
    let (matched, seen) = (selection.tally.matched, totals.entries);
    console.note(&match (at_limit, printed < matched) {
        (true, false) => format!("{printed} shown (--limit)"),
        (_, true) => format!("{printed} shown of {matched} matched, {seen} entries seen"),
        (false, false) => format!("{matched} matched, {seen} entries seen"),
    });
    report::print_undecided(console, &selection.tally);
    if totals.repeated > 0 {
        console.detail(&format!("{} entries were dumped twice by the kernel and are shown once", totals.repeated));
    }
}

fn parse_order(text: &str) -> Result<Order> {
    let (name, descending) = match text.split_once(':') {
        None => (text, false),
        Some((name, "asc")) => (name, false),
        Some((name, "desc")) => (name, true),
        Some((name, direction)) => {
            let wrong = format!("invalid direction '{direction}': expected asc or desc");
            return Err(usage_at("--sort", text, name.len() + 1..text.len(), &wrong, ""));
        }
    };
    let fault = |what: String, hint: &str| usage_at("--sort", text, 0..name.len(), &what, hint);
    let found = field(name).ok_or_else(|| fault(format!("unknown field '{name}'"), &hint_for(name)))?;
    if !found.sortable {
        return Err(fault(
            format!("field '{name}' may have several values per entry: expected a field with one value"),
            "",
        ));
    }
    Ok(Order { field: found, descending })
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
