//! `ctnl stats`.

mod output;
mod sample;

use std::io::{self, Write};

use anyhow::Result;
use clap::builder::StyledStr;
use ctnl::host::Host;
use ctnl::table::COUNTERS;
use ctnl::units::{Nanos, Seconds};

use self::output::{Output, Rates};
use self::sample::Sampler;
use super::args::CommonArgs;
use crate::term::console::Console;
use crate::term::exit::Exit;
use crate::term::interrupt::Interrupt;
use crate::term::stdout::{Delivered, written};

const EXAMPLES: &str = "\
Examples:
  ctnl stats
      Entries, the maximum, and each counter since the namespace was made.
  ctnl stats --watch
      The table every 2 s: entries, and what each counter grew by per second.
  ctnl stats --per-cpu
  ctnl stats --all-netns --json
      An object for each network namespace.";

/// Show the counters of connection tracking: drops, evictions, failed inserts
///
/// Entries and the maximum, and the counters of `conntrack -S`, summed over the processors. The counters
/// grow since the namespace was made: --watch shows what happens now. Counters that rise while
/// connections fail: drop, early_drop, insert_failed, chaintoolong.
#[derive(Debug, clap::Args)]
#[command(after_long_help = after_help())]
pub struct Args {
    /// A row for each processor
    #[arg(long, conflicts_with = "all_netns")]
    per_cpu: bool,

    /// A row for each network namespace of the host
    #[arg(long, conflicts_with = "netns")]
    all_netns: bool,

    /// Every INTERVAL (2 s by default), show what each counter grew by per second, until Ctrl-C
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s", value_parser = interval)]
    watch: Option<Seconds>,

    /// End after N intervals
    #[arg(long, value_name = "N", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    times: Option<u64>,

    /// JSON on stdout, an object for each namespace
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// The examples, and what each counter counts.
fn after_help() -> StyledStr {
    let counters = COUNTERS.map(|counter| format!("  {}\n      {}", counter.name, counter.help));
    format!("Counters:\n{}\n\n{EXAMPLES}", counters.join("\n")).into()
}

fn interval(text: &str) -> Result<Seconds, String> {
    match text.parse::<Seconds>() {
        Ok(Seconds(0)) => Err("expected at least 1s".to_owned()),
        Ok(seconds) => Ok(seconds),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let mut console = args.common.console();
    let mut sampler = if args.all_netns { Sampler::all(host)? } else { Sampler::one(args.common.connect()?) };
    let mut output = Output::new(args.json, args.per_cpu);
    match args.watch {
        None => {
            let (samples, is_complete) = sampler.read(&mut console)?;
            write(&output.once(&samples))?;
            Ok(if is_complete { Exit::Done } else { Exit::Partly })
        }
        Some(interval) => watch(args, host, &mut sampler, &mut output, interval, &mut console),
    }
}

fn watch(
    args: &Args,
    host: &Host,
    sampler: &mut Sampler,
    output: &mut Output,
    interval: Seconds,
    console: &mut Console,
) -> Result<Exit> {
    let interrupt = Interrupt::listen()?;
    let now = || host.clock.now().monotonic;
    let (mut read_at, (mut earlier, mut is_complete)) = (now(), sampler.read(console)?);
    let mut left = args.times;
    while left != Some(0) {
        let next = read_at.plus(interval.into());
        if !interrupt.sleep(next.since(now()).into(), |_| {}) {
            break;
        }
        let at = now();
        let (samples, all) = sampler.read(console)?;
        let rates = Rates::between(&earlier, &samples, at.since(read_at));
        if write(&output.interval(&samples, &rates))? == Delivered::ReaderGone {
            break;
        }
        (earlier, read_at, is_complete) = (samples, at, is_complete && all);
        left = left.map(|left| left - 1);
    }
    Ok(if is_complete { Exit::Done } else { Exit::Partly })
}

/// Writes to standard output at once.
fn write(text: &str) -> Result<Delivered> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// `span` in seconds.
fn seconds(span: Nanos) -> f64 {
    span.as_millis_f64() / 1000.0
}
