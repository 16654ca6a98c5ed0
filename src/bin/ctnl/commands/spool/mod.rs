//! `ctnl spool`.

mod contents;
mod line_time;
mod output;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ctnl::host::Host;
use ctnl::text::printable;

use self::contents::Contents;
use crate::sink::{Finding, Item, is_spool, spools_below, survey};
use crate::term::console::Console;
use crate::term::exit::{Exit, usage};
use crate::term::stdout::{Delivered, for_many_lines, print, written};

const EXAMPLES: &str = "\
Examples:
  ctnl spool show /var/spool/ctnl
      Each sink's streams, lines and bytes that wait, their numbers and times.
  ctnl spool check /var/spool/ctnl || mail -s spool root
      Exit code 1 if anything is damaged.
  ctnl spool show /var/spool/ctnl/tcp%3Alog%3A514 --lines > rescued.json
      The lines that wait for one sink, in their order.

Nothing is changed and nothing is locked: both are safe while `ctnl events` uses the spool.";

/// Show or check what is in a spool of `ctnl events`
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show what is in a spool: sinks, streams, lines that wait
    Show(ShowArgs),
    /// Verify the checksums and line numbers of a spool
    Check(CheckArgs),
}

/// Show what is in a spool: sinks, streams, lines that wait
///
/// Lines that are delivered are counted separately: they stay on the disk until all of their segment is.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
struct ShowArgs {
    #[command(flatten)]
    spool: SpoolArgs,

    /// Print the lines that wait, of one sink
    ///
    /// Lines that are missing are reported on stderr, and the exit code is 3 then.
    #[arg(long, conflicts_with = "json")]
    lines: bool,
}

/// Verify the checksums and line numbers of a spool
///
/// Exit code 0: it is whole. 1: it is damaged, or cannot be read. `ctnl events` skips what is damaged, and
/// writes a gap record with the number of missing lines.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
struct CheckArgs {
    #[command(flatten)]
    spool: SpoolArgs,
}

#[derive(Debug, clap::Args)]
struct SpoolArgs {
    /// The folder of --spool, or that of one sink in it
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// JSON on stdout, an object for each sink
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args, _: &Host) -> Result<Exit> {
    match &args.verb {
        Verb::Show(show) if show.lines => lines(&show.spool.folder),
        Verb::Show(show) => report(&show.spool, output::text),
        Verb::Check(check) => {
            let is_whole = report(&check.spool, output::verdict)? == Exit::Done;
            Ok(if is_whole { Exit::Done } else { Exit::Failed })
        }
    }
}

/// The folders of sinks.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    if is_spool(folder) {
        return Ok(vec![folder.to_owned()]);
    }
    let found = spools_below(folder).with_context(|| format!("read the folder {}", folder.display()))?;
    if found.is_empty() {
        bail!(
            "{} contains no spool\n  hint: name the folder of --spool, or that of one sink in it",
            printable(&folder.display().to_string())
        );
    }
    Ok(found)
}

/// Prints a report on each sink. `Exit::Partly` if one is damaged.
fn report(args: &SpoolArgs, text: fn(&Contents) -> String) -> Result<Exit> {
    let mut exit = Exit::Done;
    for folder in folders(&args.folder)? {
        let contents = Contents::read(&folder).with_context(|| format!("read the spool {}", folder.display()))?;
        if contents.is_damaged() {
            exit = Exit::Partly;
        }
        print(if args.json { output::json(&contents) } else { text(&contents) })?;
    }
    Ok(exit)
}

/// Prints the lines that wait.
fn lines(folder: &Path) -> Result<Exit> {
    let folders = folders(folder)?;
    let [folder] = &*folders else {
        let names = folders.iter().map(|folder| format!("\n  {}", printable(&folder.display().to_string())));
        return Err(usage(format!("--lines: expected the folder of one sink, one of{}", names.collect::<String>())));
    };
    let (mut console, mut stdout) = (Console::new(false, false), for_many_lines());
    let (mut is_whole, mut result) = (true, Ok(Delivered::All));
    let read = survey(folder, &mut |finding| {
        match finding {
            Finding::Waiting(Item::Chunk(chunk)) => {
                result = written(stdout.write_all(&chunk.bytes));
                return matches!(result, Ok(Delivered::All));
            }
            Finding::Waiting(Item::Gap(gap)) => {
                let (stream, first, last) = (&gap.stream, gap.first, gap.first.saturating_add(gap.lines) - 1);
                console
                    .warn(&format!("lines {first} to {last} of stream {stream} were dropped before they were spooled"));
                is_whole = false;
            }
            Finding::Damage(damage) => {
                console.warn(&output::describe(&damage));
                is_whole = false;
            }
            Finding::Segment { .. } | Finding::Delivered(_) => {}
        }
        true
    });
    read.with_context(|| format!("read the spool {}", folder.display()))?;
    result.and_then(|_| written(stdout.flush()))?;
    Ok(if is_whole { Exit::Done } else { Exit::Partly })
}
