//! `ctnl top`.

use std::io::{self, Write};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;
use ctnl::host::Host;
use ctnl::units::Seconds;

use super::args::{CommonArgs, FilterArgs};
use crate::host::files;
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;
use crate::term::stdout::{Delivered, written};
use crate::top::{
    Column, Frame, History, Sampler, ShownFilter, SortOrder, View, Wanted, frame_as_json, frame_as_text, next_frame,
};

const EXAMPLES: &str = "\
Examples:
  ctnl top --batch -n 1
      One frame, after an interval of 2 s: for a ticket.
  ctnl top --batch --by port --sort new --rows 5 udp
      The five ports with most new UDP entries, every 2 s.
  ctnl top --batch --json --interval 10s
      A JSON object for each frame (docs/top.md).

Exit codes: 0 done; 1 failed; 2 usage error.";

/// Show the table as it changes: who fills it, how fast, and when it is full
///
/// A frame has the entries and the maximum, the part that can be evicted, new and destroyed entries and drops per
/// second, and a table of groups. `?` is what cannot be known, `12+` a lower bound. Each frame is one dump; where a dump takes
/// long, frames come less often than asked for, so that no more than an eighth of one processor is used.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Print frames as text
    #[arg(long, short)]
    batch: bool,

    /// End after FRAMES frames
    #[arg(short = 'n', value_name = "FRAMES", requires = "batch", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,

    /// Each frame as a JSON object on one line
    #[arg(long, requires = "batch")]
    json: bool,

    /// What the rows are
    #[arg(long, value_name = "VIEW", default_value = "source", value_parser = view)]
    by: View,

    /// Sort by this column: group, entries, evictable, new, packets, bytes, idle
    #[arg(long, value_name = "COLUMN", default_value = "entries", value_parser = column)]
    sort: Column,

    /// Rows of a frame
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rows: u16,

    /// Time between two frames
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Seconds,

    /// Do not subscribe to events of new entries
    ///
    /// While there is a subscriber, the kernel makes an event for each new entry (nf_conntrack_events). Without events,
    /// new entries are counted by their start time, where nf_conntrack_timestamp is 1, and unknown elsewhere.
    #[arg(long)]
    no_events: bool,

    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    common: CommonArgs,
}

fn view(text: &str) -> Result<View, String> {
    View::of_name(text).ok_or_else(|| format!("expected one of {}", View::ALL.map(View::name).join(", ")))
}

fn column(text: &str) -> Result<Column, String> {
    let found = Column::ALL.into_iter().find(|column| column.name() == text);
    found.ok_or_else(|| format!("expected one of {}", Column::ALL.map(Column::name).join(", ")))
}

fn interval(text: &str) -> Result<Seconds, String> {
    super::args::seconds(text, 3600).map(Seconds)
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    if args.filter.confirm_idle.is_some() {
        return Err(usage(
            "top: --confirm-idle is for commands that read the table once\n  hint: idle >= TIME selects",
        ));
    }
    let filter = args.filter.filter(host)?;
    let filter = ShownFilter { text: filter.to_string(), filter };
    let interrupt = Interrupt::listen()?;
    let wanted = Wanted { views: vec![args.by], order: SortOrder::of(args.sort), rows: args.rows.into() };
    let connection = args.common.connect()?;
    let mut sampler = Sampler::new(connection, host, &args.filter.timeout_options()?, wanted, !args.no_events)?;
    sampler.set_filter(filter);
    print_frames(args, host, &mut sampler, &interrupt)
}

/// Prints frames until enough were printed, a signal is received, or the reader is gone.
fn print_frames(args: &Args, host: &Host, sampler: &mut Sampler, interrupt: &Interrupt) -> Result<Exit> {
    let (zone, stop) = (files::time_zone(host), AtomicBool::new(false));
    let (mut history, mut printed) = (History::default(), 0);
    let now = || host.clock.now().monotonic;
    loop {
        let began = now();
        let Some(frame) = sampler.sample(&stop)? else { return Ok(Exit::Done) };
        history.add(&frame);
        // The first frame has no rates.
        if frame.interval > 0 {
            printed += 1;
            if print_frame(args, &frame, &history, &zone)? == Delivered::ReaderGone {
                return Ok(Exit::Done);
            }
        }
        if args.frames.is_some_and(|frames| printed >= frames) {
            return Ok(Exit::Done);
        }
        let next = next_frame(began, now(), args.interval);
        while now() < next {
            let left = Duration::from(next.since(now())).min(Duration::from_millis(100));
            if !interrupt.sleep(left, |_| {}) {
                return Ok(Exit::Done);
            }
            sampler.read_events()?;
        }
    }
}

fn print_frame(args: &Args, frame: &Frame, history: &History, zone: &jiff::tz::TimeZone) -> Result<Delivered> {
    let text = if args.json {
        frame_as_json(frame, args.by, history) + "\n"
    } else {
        frame_as_text(frame, args.by, history, zone)
    };
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}
