//! `ctnl list`.

use std::io::{self, IsTerminal, Stdout};
use std::ops::ControlFlow;

use anyhow::{Context, Result};
use ctnl::field::{FIELDS, Field, field, nearest};
use ctnl::output::{ChunkWriter, FORMATS, Format, TextOptions, Writer, WriterOptions};

use super::args::{CommonArgs, FilterArgs};
use super::report;
use crate::exit::{Exit, usage};
use crate::files;
use crate::interrupt::Interrupt;
use crate::selection::Selection;
use crate::sorted::{Order, Sorted};
use crate::walk::{Walked, Watch, look_and_wait, walk};

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

    /// Format, and options of the conntrack format: table (on a terminal),
    /// conntrack (in a pipe), json, csv, xml; extended, id, timestamp, ktimestamp, labels
    #[arg(long, short, value_name = "FORMAT[,OPTION…]")]
    output: Option<String>,

    /// The same as -o json
    #[arg(long, conflicts_with = "output")]
    json: bool,

    /// Columns of table, csv and json: names of fields, with commas
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',')]
    columns: Option<Vec<String>>,

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
    common: CommonArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let filter = args.filter.filter()?;
    args.filter.bases()?;
    let (format, text) = args.format()?;
    let order = args.sort.as_deref().map(parse_order).transpose()?;
    let writer = args.writer(format, text)?;
    let with_ages = !matches!(format, Format::Conntrack | Format::Xml) || order.is_some();

    let interrupt = Interrupt::listen()?;
    let mut console = args.common.console();
    let mut connection = args.common.connect()?;
    let expected = report::expected(&mut connection);
    let mut watch = Watch { console: &mut console, interrupt: &interrupt, expected };
    let mut selection = args.filter.selection(filter, &mut connection, with_ages)?;
    if let Some(seconds) = args.filter.confirm_idle
        && !look_and_wait(&mut connection, &mut selection, &mut watch, seconds)?
    {
        return Ok(Exit::Partly);
    }
    let mut printer = Printer::new(writer, args.limit, order);
    let walked = walk(&mut connection, &mut selection, &mut watch, |subject| printer.flow(subject));
    // What was printed so far goes out also when the walk failed.
    let printed = printer.finish(&selection)?;
    let walked = walked?;
    tell(&mut console, &selection, walked, printed);
    Ok(match (walked.interrupted, printed) {
        (true, _) => Exit::Partly,
        (_, 0) if args.fail_if_none => Exit::Failed,
        _ => Exit::Done,
    })
}

fn tell(console: &mut crate::console::Console, selection: &Selection, walked: Walked, printed: u64) {
    let shown = if printed < selection.tally.matched { format!("{printed} shown of ") } else { String::new() };
    let seen = walked.totals.entries;
    console.note(&format!("{shown}{} matched, {seen} entries seen", selection.tally.matched));
    report::tell_undecided(console, &selection.tally);
    if walked.totals.repeated > 0 {
        console.detail(&format!("{} entries came twice from the kernel and are shown once", walked.totals.repeated));
    }
    if walked.interrupted {
        console.warn("interrupted before the end of the table");
    }
}

impl Args {
    fn format(&self) -> Result<(Format, TextOptions)> {
        if self.json {
            return Ok((Format::Json, TextOptions::default()));
        }
        let Some(output) = self.output.as_deref() else {
            let terminal = io::stdout().is_terminal() || self.columns.is_some();
            return Ok((if terminal { Format::Table } else { Format::Conntrack }, TextOptions::default()));
        };
        parse_output(output).map_err(|word| {
            let formats: Vec<&str> = FORMATS.iter().map(|row| row.name).collect();
            let caret = " ".repeat(output.find(&word).unwrap_or(0)) + &"^".repeat(word.chars().count().max(1));
            usage(format!(
                "`{word}` is neither a format nor an option of one\n  -o {output}\n     {caret}\n  hint: formats are {}; \
                 options are extended, id, timestamp, ktimestamp, labels",
                formats.join(", ")
            ))
        })
    }

    fn writer(&self, format: Format, text: TextOptions) -> Result<Writer> {
        let text = match format {
            Format::Json => TextOptions { labels: Some(files::labels()), ..text },
            _ => text,
        };
        let options = WriterOptions { columns: self.columns.clone(), text };
        Writer::new(format, options).map_err(|error| {
            let hint = self.columns.iter().flatten().find(|name| field(name).is_none()).map(|name| hint_for(name));
            usage(format!("{error}{}", hint.unwrap_or_default()))
        })
    }
}

/// Reads `FORMAT[,OPTION…]`; the options alone mean conntrack(8)'s format. An
/// error is the word that is neither.
fn parse_output(output: &str) -> Result<(Format, TextOptions), String> {
    let mut words = output.split(',').peekable();
    let format = words.peek().and_then(|word| Format::from_name(word));
    if format.is_some() {
        words.next();
    }
    let mut text = TextOptions::default();
    for word in words {
        match word {
            "extended" => text.extended = true,
            "id" => text.id = true,
            "timestamp" => text.timestamp = true,
            "ktimestamp" => {
                text.ktimestamp = true;
                text.zone = files::time_zone();
            }
            "labels" => text.labels = Some(files::labels()),
            unknown => return Err(unknown.to_owned()),
        }
    }
    Ok((format.unwrap_or(Format::Conntrack), text))
}

fn parse_order(text: &str) -> Result<Order> {
    let (name, descending) = match text.split_once(':') {
        None => (text, false),
        Some((name, "asc")) => (name, false),
        Some((name, "desc")) => (name, true),
        Some((_, direction)) => return Err(usage(format!("--sort {text}: `{direction}` is neither asc nor desc"))),
    };
    let found = field(name).ok_or_else(|| usage(format!("--sort {text}: there is no field `{name}`{}", hint_for(name))))?;
    if !found.sortable {
        return Err(usage(format!("--sort {text}: a flow may have several values of `{name}`")));
    }
    Ok(Order { field: found, descending })
}

fn hint_for(name: &str) -> String {
    let near = nearest(name, FIELDS.iter().filter(|field| field.column).map(|field: &Field| field.name));
    near.map_or_else(|| "\n  hint: `ctnl help filter` lists the fields".into(), |near| format!("\n  hint: did you mean {near}?"))
}

/// Prints what comes, at once or sorted at the end.
struct Printer {
    writer: Writer,
    chunks: ChunkWriter<Stdout>,
    failed: Option<io::Error>,
    limit: u64,
    printed: u64,
    sorted: Option<Sorted>,
}

impl Printer {
    fn new(mut writer: Writer, limit: Option<u64>, order: Option<Order>) -> Self {
        let stdout = io::stdout();
        let mut chunks = if stdout.is_terminal() { ChunkWriter::terminal(stdout) } else { ChunkWriter::new(stdout) };
        writer.begin(chunks.buffer());
        let limit = limit.unwrap_or(u64::MAX);
        Printer { writer, chunks, failed: None, limit, printed: 0, sorted: order.map(|order| Sorted::new(order, limit)) }
    }

    fn flow(&mut self, subject: &ctnl::field::Subject<'_>) -> ControlFlow<()> {
        if let Some(sorted) = &mut self.sorted {
            sorted.push(subject);
            return ControlFlow::Continue(());
        }
        self.print(subject)
    }

    #[inline]
    fn print(&mut self, subject: &ctnl::field::Subject<'_>) -> ControlFlow<()> {
        if self.printed >= self.limit {
            return ControlFlow::Break(());
        }
        self.writer.flow(self.chunks.buffer(), subject);
        self.printed += 1;
        if let Err(error) = self.chunks.commit() {
            self.failed = Some(error);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Prints the rest; the number of entries printed.
    fn finish(mut self, selection: &Selection) -> Result<u64> {
        for kept in self.sorted.take().into_iter().flat_map(Sorted::into_sorted) {
            if self.print(&kept.subject(selection.ages())).is_break() {
                break;
            }
        }
        self.writer.end(self.chunks.buffer());
        let finished = match self.failed {
            Some(error) => Err(error),
            None => self.chunks.finish().map(drop),
        };
        match finished {
            // Whoever read this has had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(self.printed),
            result => result.context("write to standard output").map(|()| self.printed),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn options_alone_mean_the_conntrack_format() {
        let (format, text) = parse_output("extended,id").unwrap();
        assert_eq!((format, text.extended, text.id), (Format::Conntrack, true, true));
        assert_eq!(parse_output("json").unwrap().0, Format::Json);
        assert_eq!(parse_output("json,fnord").unwrap_err(), "fnord");
    }

    #[test]
    fn an_order_names_a_field_that_has_one_value() {
        assert!(parse_order("bytes:desc").unwrap().descending);
        for bad in ["bytes:up", "fnord", "addr"] {
            assert!(parse_order(bad).is_err(), "{bad}");
        }
    }
}
