//! `ctnl restore`.

use anyhow::Result;
use ctnl::host::Host;

use super::args::CommonArgs;
use crate::restore::{Options, Restore, Source, ZoneMapping, report};
use crate::term::exit::Exit;
use crate::term::interrupt::Interrupt;

const EXAMPLES: &str = "\
Examples:
  ctnl restore table.ctnl
      Create the entries that `ctnl save` or `ctnl flush --save` wrote.
  ctnl restore table.ctnl --dry-run
      Check the file and count what would be created.
  ctnl save --netns old - | ctnl restore --netns new --zone-map 10=11 -
      Into another network namespace, and zone 10 into zone 11.
  conntrack -L -o save | ctnl restore --netns new -
      conntrack's own lines. They have no marks, labels, helpers or times.

What exists is left as it is and counted, so a restore that was interrupted can be repeated.
docs/save.md has what is kept and what is not, and recipes (router swap, undo).
Exit codes: 0 done; 1 failed, nothing was restored; 2 bad usage; 3 partly done.";

/// Create the entries of a save file
///
/// The whole file is checked first: one that is cut short or corrupt is refused before anything is created.
/// Timeouts are lowered by the time since the save; entries whose timeout has run out are not created. NAT is set up
/// again, so that packets are rewritten as before. A restore stops before the table is full, since the kernel would
/// evict other entries.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, mut_arg("netns", |arg| arg.visible_alias("into-netns")))]
pub struct Args {
    /// File of ctnl save, of flush --save or of conntrack -o save; `-` is standard input
    #[arg(value_name = "FILE")]
    file: String,

    /// Check the file and count, create nothing
    #[arg(long)]
    dry_run: bool,

    /// Leave timeouts as they are in the file
    #[arg(long)]
    no_age: bool,

    /// Create entries of zone FROM in zone TO; may be repeated
    #[arg(long, value_name = "FROM=TO", value_delimiter = ',')]
    zone_map: Vec<ZoneMapping>,

    /// Restore the entries before the cut of a file that is cut short (a flush --save that was killed)
    #[arg(long)]
    incomplete: bool,

    /// Summary as JSON on stdout
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let mut console = args.common.console();
    let mut connection = args.common.connect()?;
    // A signal ends it while it waits for a pipe.
    let source = Source::open(&args.file, &std::env::temp_dir())?;
    let interrupt = Interrupt::listen()?;
    let options = Options {
        dry_run: args.dry_run,
        no_age: args.no_age,
        incomplete: args.incomplete,
        zones: args.zone_map.clone(),
    };
    let clock = host.clock.clone();
    let restore = Restore { options, source, console: &mut console, interrupt: &interrupt, clock };
    let summary = restore.run(&mut connection)?;
    report(&summary, host.clock.now().realtime, &mut console, args.json)
}
