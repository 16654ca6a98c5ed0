//! `ctnl events`.

mod environment;
mod opener;
mod output;
mod poller;
mod sinks;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use ctnl::filter::Filter;
use ctnl::table::Subscription;
use ctnl::units::{Bytes, QuantityError, Seconds};

use self::environment::Host;
use self::opener::Opener;
use self::output::OutputArgs;
use self::poller::Watcher;
use self::sinks::SinkArgs;
use super::args::{CommonArgs, FilterArgs};
use super::report;
use crate::follow::{End, Kinds, Lines, OnGap, Options, follow};
use crate::host::privileges::{self, Needs};
use crate::scan::Tally;
use crate::term::console::Console;
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;

const EXAMPLES: &str = "\
Examples:
  ctnl events
      What is there, then what comes and goes, one JSON object a line (docs/events.md).
  ctnl events --flows tcp and dport 443
      One record for each connection when it is over: start, end, packets, bytes, NAT.
  ctnl events --destroy 'src 10.0.0.0/8 and bytes > 10M' -o csv
      Large connections of the inside, when they end.
  ctnl events --update --no-seed mark 7 -o conntrack,timestamp,id
      conntrack(8)'s lines: `conntrack -E -e UPDATES -o timestamp,id -m 7`.
  ctnl events --all-netns --reconcile 10m --stats-interval 60s
      Every namespace of the host; compare with the tables each ten minutes.

What is lost is in the stream: a record \"event\":\"gap\" with the exact number, where it
happened. Then the table is dumped, and what the reader cannot know is told in records
marked \"synthetic\":\"resync\", so that applying new and destroy records always leads to
the table. For that some 100 bytes are kept of each entry that was told of; with
`--no-seed --on-gap continue` nothing is kept and memory is constant.

A record stands for an entry that matches when the event comes. The end of what was told
of is told whatever the expression says by then. Expectations are told unfiltered.
Exit codes: 0 ended by SIGTERM, SIGINT or the reader; 1 failed; 2 bad usage; 3 ended by a
loss (--on-gap exit), or lines could not be written at the end.";

/// Follow what comes, changes and goes
///
/// Subscribes first, then dumps what is there, and tells all of it in one stream of
/// lines. Without --new, --update, --destroy, --expect or --flows: new and destroy.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,

    /// Tell what comes into the table
    #[arg(long)]
    new: bool,

    /// Tell what changes: state, status, mark, label, helper
    #[arg(long)]
    update: bool,

    /// Tell what leaves the table
    #[arg(long)]
    destroy: bool,

    /// Tell expectations, too
    #[arg(long)]
    expect: bool,

    /// Tell each connection once, when it is over; also those that were there before
    ///
    /// Start and duration are exact with nf_conntrack_timestamp=1, packets and bytes are there
    /// with nf_conntrack_acct=1. Of what matches only at its end, such as `bytes > 10M`, the start
    /// is the kernel's or none.
    #[arg(long)]
    flows: bool,

    /// Do not tell what is there at the start
    #[arg(long)]
    no_seed: bool,

    /// After a loss: dump and tell the difference, go on without, or end with exit code 3
    ///
    /// With `continue` too, what was lost while the entries of the start were told is made good.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = GapArg::Resync)]
    on_gap: GapArg,

    /// Compare with the table each TIME (90s, 10m): entries from before the first listener, with
    /// nf_conntrack_events=2, come and go without an event
    #[arg(long, value_name = "TIME", value_parser = time)]
    reconcile: Option<Duration>,

    /// Have the kernel keep destroyed entries until their event has been received
    ///
    /// (NETLINK_BROADCAST_ERROR.) No destroy event is lost then, only late. The price: as long as
    /// events are not read, entries that are over keep their memory and their place in the table;
    /// a reader that is stuck for long fills it, and then packets of new connections are dropped.
    /// Losses are counted at each attempt, so their number is an upper bound. New and update
    /// events can still be lost.
    #[arg(long)]
    reliable: bool,

    /// Size of the socket's queue: an event takes 640 bytes of it
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = queue)]
    buffer: usize,

    /// Size up to which the queue is made larger when it is half full
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = queue)]
    buffer_max: usize,

    /// Say each TIME on stderr how the stream stands
    #[arg(long, value_name = "TIME", value_parser = time)]
    stats_interval: Option<Duration>,

    /// Follow all network namespaces of the host, also those that come later
    #[arg(long, conflicts_with = "netns")]
    all_netns: bool,

    /// Set nf_conntrack_events, _acct and _timestamp to 1, and back at the end
    ///
    /// With --all-netns in every namespace, as it comes; one where they cannot be set is followed as
    /// it is.
    ///
    /// Of several that do, the last sets back. One that is killed, or that a second SIGTERM or
    /// SIGINT ends at once, leaves them set until the next with --set-sysctls in the same namespace
    /// is over. Before Linux 5.14 a namespace cannot be told from a later one with its number: there
    /// that next one sets back only if all three are still 1.
    #[arg(long)]
    set_sysctls: bool,

    /// Keep all privileges. Else all but CAP_NET_ADMIN (with --all-netns also CAP_SYS_ADMIN and
    /// CAP_SYS_PTRACE) are given up once the sockets are open, and root may not write files of other
    /// users
    #[arg(long)]
    keep_privileges: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    places: SinkArgs,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum GapArg {
    Resync,
    Continue,
    Exit,
}

fn time(text: &str) -> Result<Duration, String> {
    match text.parse::<Seconds>().map_err(|error| error.to_string())? {
        Seconds(0) => Err("0 is no interval".into()),
        Seconds(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    let Bytes(bytes) = text.parse().map_err(|error: QuantityError| error.to_string())?;
    usize::try_from(bytes).map_err(|_| format!("{text} is too large"))
}

/// The size of a socket's queue.
fn queue(text: &str) -> Result<usize, String> {
    let size = bytes(text)?;
    if size <= 1 << 30 { Ok(size) } else { Err("the kernel takes no queue of more than 1GiB".into()) }
}

/// Runs the command.
pub fn run(args: &Args, host: &ctnl::host::Host) -> Result<Exit> {
    let filter = args.filter.filter(host)?;
    if args.filter.confirm_idle.is_some() {
        return Err(usage("--confirm-idle: an event is looked at once"));
    }
    let writer = args.output.writer(host)?;
    if args.expect && !writer.shows_expectations() {
        return Err(usage("--expect: csv has no columns for expectations\n  hint: -o json or -o conntrack"));
    }
    let specs = args.places.specs()?;
    let options = args.options();
    let interrupt = Interrupt::listen()?;
    let mut console = args.common.console();
    let opener =
        Opener::new(args.subscription(&options, &filter), &filter, args.filter.previous_timeouts()?, args.set_sysctls);
    let netns = args.common.netns()?.hold()?;
    let mut settings = Vec::new();
    let (streams, watcher) = if args.all_netns {
        let (streams, watcher) = Watcher::look(opener, &mut console)?;
        (streams, Some(watcher))
    } else {
        // Before the socket, so that entries are made with them from the first event on.
        settings.extend(opener.settings(&netns)?.map(|settings| (None, settings)));
        let stream = opener.open(&netns, None)?;
        opener::tell_start(&mut console, &netns, None, stream.buffer());
        (vec![stream], None)
    };
    // Threads have the privileges of who starts them: before the first.
    args.drop_privileges(&mut console)?;
    let watcher = watcher.map(Watcher::start).transpose()?;
    let mut places = args.places.open(&specs, &writer, &ctnl::host::Host::system(), !args.keep_privileges)?;
    let mut host = Host::new(&mut console, &interrupt, places.clone(), watcher)?;
    let lines = Lines::new(Arc::clone(&options.stream), writer, &mut places);
    let end = follow(options, filter, streams, lines, &mut host);
    settings.extend(host.into_settings().into_iter().map(|(netns, settings)| (Some(netns), settings)));
    let unwritten = places.finish(&mut console);
    settings.into_iter().for_each(|(netns, settings)| opener::restore(&mut console, netns.as_deref(), settings));
    let end = end?;
    tell_end(&mut console, &end);
    Ok(if end.reason == "gap" || unwritten > 0 { Exit::Partly } else { Exit::Done })
}

fn tell_end(console: &mut Console, end: &End) {
    let totals = &end.totals;
    console.note(&format!(
        "{}: {} events received, {} lost, {} records written",
        end.reason, totals.received, totals.lost, end.records
    ));
    if totals.unreadable > 0 {
        console.warn(&format!("{} events could not be read: a newer kernel, or a fault", totals.unreadable));
    }
    if totals.uncounted > 0 {
        console.warn(&format!("{} times the kernel had no memory for events, and has no count", totals.uncounted));
    }
    report::tell_undecided(console, &Tally { undecided: totals.undecided.clone(), ..Tally::default() });
}

impl Args {
    fn kinds(&self) -> Kinds {
        let is_default = !(self.new || self.update || self.destroy || self.expect || self.flows);
        Kinds {
            new: self.new || is_default,
            update: self.update,
            destroy: self.destroy || is_default,
            expectations: self.expect,
            flows: self.flows,
        }
    }

    fn drop_privileges(&self, console: &mut Console) -> Result<()> {
        if !self.keep_privileges {
            let kept = privileges::drop_all_but(Needs { all_netns: self.all_netns })?;
            console.detail(&kept.to_string());
        }
        Ok(())
    }

    fn options(&self) -> Options {
        Options {
            kinds: self.kinds(),
            seed: !self.no_seed,
            on_gap: match self.on_gap {
                GapArg::Resync => OnGap::Resync,
                GapArg::Continue => OnGap::Continue,
                GapArg::Exit => OnGap::Exit,
            },
            reconcile: self.reconcile,
            buffer_max: self.buffer_max,
            reliable: self.reliable,
            stats_interval: self.stats_interval,
            stream: environment::stream_name().into(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The set of entries that the consumer knows follows new and destroy events, also
    /// where they are not told.
    fn subscription(&self, options: &Options, filter: &Filter) -> Subscription {
        let keeps = options.keeps_entries();
        let Kinds { new, update, destroy, expectations, flows } = options.kinds;
        Subscription {
            new: new || keeps,
            update,
            destroy: destroy || flows || keeps,
            expectations,
            buffer: self.buffer,
            reliable: self.reliable,
            exclude: filter.exclusion(),
        }
    }
}
