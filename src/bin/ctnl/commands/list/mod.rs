//! `ctnl list`.

mod printer;

use anyhow::Result;
use ctnl::field::field;
use ctnl::host::Host;
use ctnl::netlink::Connection;
use ctnl::output::Writer;
use ctnl::table::DumpRequest;

use self::printer::{Part, Printer, SharedPrinter};
use super::args::{CommonArgs, FilterArgs, ScanArgs};
use super::format::{FormatArgs, hint_for};
use super::report;
use crate::scan::{Order, Selection, Walked, Watch, halves, look_and_wait, may_split, walk, walk_halves};
use crate::term::console::Console;
use crate::term::exit::{Exit, usage_at};
use crate::term::interrupt::Interrupt;

const EXAMPLES: &str = "\
Examples:
  ctnl list tcp and dport 443 and idle \\> 10m
      HTTPS connections that have been idle for ten minutes, for certain.
  ctnl list 'addr 10.0.0.0/8 and not nat any' --sort bytes:desc --limit 20
      The twenty largest flows of the inside that are not translated.
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

    /// Sort by a field; `FIELD:desc` puts the largest first. What matches is kept in memory
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
    let previous_timeouts = args.filter.previous_timeouts()?;
    let order = args.sort.as_deref().map(parse_order).transpose()?;
    let writer = args.format.writer(host)?;
    let with_ages = args.format.shows_ages(host)? || order.is_some();

    let interrupt = Interrupt::listen()?;
    let mut console = args.common.console();
    let mut connection = args.common.connect()?;
    let expected = report::expected(&mut connection);
    let mut watch = Watch::new(&mut console, &interrupt, expected);
    let mut selection = Selection::new(filter, &mut connection, previous_timeouts, with_ages)?;
    if let Some(seconds) = args.filter.confirm_idle
        && !look_and_wait(&mut connection, &mut selection, &mut watch, seconds)?
    {
        return Ok(Exit::Partly);
    }
    let request = args.scan.request(selection.filter());
    let (walked, printed) = match args.may_use_two_jobs(&selection, &writer, request, watch.console) {
        Some(requests) => list_halves(requests, connection, writer, &mut selection, &mut watch)?,
        None => {
            let mut printer = Printer::new(writer, args.limit, order);
            let walked = walk(&mut connection, request, &mut selection, &mut watch, |subject| printer.flow(subject));
            // What was printed so far goes out also when the walk failed.
            let printed = printer.finish(&selection)?;
            (walked?, printed)
        }
    };
    let resized = watch.tell_if_resized();
    tell(&mut console, &selection, walked, printed, args.limit.is_some_and(|limit| printed >= limit));
    Ok(match (walked.interrupted || resized, printed) {
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
) -> Result<(Walked, u64)> {
    let other = connection.another()?;
    let printer = SharedPrinter::new(&mut writer);
    let halves = halves(requests, [connection, other], selection, printer.parts(writer));
    let (walked, parts) = walk_halves(halves, selection, watch);
    let printed = parts.map(Part::finish).iter().sum();
    printer.finish()?;
    Ok((walked?, printed))
}

impl Args {
    /// The two halves to walk; none where that was not asked for, or would
    /// change the answer, which is said.
    fn may_use_two_jobs(
        &self,
        selection: &Selection,
        writer: &Writer,
        request: DumpRequest,
        console: &mut Console,
    ) -> Option<[DumpRequest; 2]> {
        self.scan.halves(console, || {
            if self.sort.is_some() || self.limit.is_some() || self.filter.confirm_idle.is_some() {
                return Err("--sort, --limit and --confirm-idle take one");
            }
            if matches!(writer, Writer::Table(_) | Writer::Xml(_)) {
                return Err("the format is a whole, not lines that stand for themselves");
            }
            may_split(selection.filter(), request)
        })
    }
}

fn tell(console: &mut Console, selection: &Selection, walked: Walked, printed: u64, at_limit: bool) {
    let (matched, seen) = (selection.tally.matched, walked.totals.entries);
    console.note(&match (at_limit, printed < matched) {
        (true, false) => format!("{printed} shown, which is the limit"),
        (_, true) => format!("{printed} shown of {matched} matched, {seen} entries seen"),
        (false, false) => format!("{matched} matched, {seen} entries seen"),
    });
    report::tell_undecided(console, &selection.tally);
    if walked.totals.repeated > 0 {
        console.detail(&format!("{} entries came twice from the kernel and are shown once", walked.totals.repeated));
    }
    if walked.interrupted {
        console.warn("interrupted before the end of the table");
    }
}

fn parse_order(text: &str) -> Result<Order> {
    let (name, descending) = match text.split_once(':') {
        None => (text, false),
        Some((name, "asc")) => (name, false),
        Some((name, "desc")) => (name, true),
        Some((name, direction)) => {
            let wrong = format!("`{direction}` is neither asc nor desc");
            return Err(usage_at("--sort", text, name.len() + 1..text.len(), &wrong, ""));
        }
    };
    let fault = |what: String, hint: &str| usage_at("--sort", text, 0..name.len(), &what, hint);
    let found = field(name).ok_or_else(|| fault(format!("there is no field `{name}`"), &hint_for(name)))?;
    if !found.sortable {
        return Err(fault(format!("a flow may have several values of `{name}`"), ""));
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
