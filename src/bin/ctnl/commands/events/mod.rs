//! `ctnl events`.

mod context;
mod help;
mod output;
mod sinks;

use std::time::Duration;

use anyhow::Result;
use ctnl::host::Host;
use ctnl::units::{Bytes, QuantityError, Seconds};

use self::context::ContextArgs;
use self::output::OutputArgs;
use self::sinks::SinkArgs;
use super::args::{CommonArgs, FilterArgs};
use super::report;
use crate::follow::{DELETED, FollowOptions, OnGap, Reconcile, RecordKinds};
use crate::host::sd_notify::SdNotify;
use crate::scan::Tally;
use crate::stream::{self, Scope, StreamOptions, StreamOutcome};
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;

/// Stream conntrack events
///
/// Subscribes first, then dumps the table, and writes both as one stream of records. Without
/// --new, --update, --destroy, --expect or --flows: new and destroy.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help::EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,

    /// Report new entries
    #[arg(long)]
    new: bool,

    /// Report changes of entries: state, status, mark, label, helper
    #[arg(long)]
    update: bool,

    /// Report ends of entries
    #[arg(long)]
    destroy: bool,

    /// Report expectations too; the filter does not apply to them
    ///
    /// They are also read from the kernel every two seconds: it sends no events of those whose
    /// connection sends none (nf_conntrack_events=2).
    #[arg(long)]
    expect: bool,

    /// One record per connection, at its end (flow log); with =both another one at its beginning
    ///
    /// With =both, a connection and its NAT are on record while it lasts: `begin` records, also of those
    /// that exist at the start.
    /// Start and duration are exact with nf_conntrack_timestamp=1; packets and bytes need
    /// nf_conntrack_acct=1. An entry that matches only at its end, such as `bytes > 10M`, has the
    /// kernel's start or none.
    #[arg(long, value_name = "WHEN", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "end")]
    flows: Option<FlowsArg>,

    /// Skip the initial snapshot
    #[arg(long)]
    no_seed: bool,

    /// After lost events: dump the table and report the difference, continue, or exit with code 3
    ///
    /// `continue` repeats an initial snapshot during which events were lost.
    #[arg(long, value_name = "ACTION", value_enum, default_value_t = GapArg::Resync)]
    on_gap: GapArg,

    /// Compare with the table every TIME (90s, 10m), `off` never, or while entries may end without
    /// an event (`auto`)
    ///
    /// With nf_conntrack_events=2, entries from before the first subscription send no events. `auto`
    /// finds their ends: it compares when all of them can have expired, and every ten minutes, until
    /// none is left.
    #[arg(long, value_name = "TIME|auto|off", default_value = "auto", value_parser = reconcile)]
    reconcile: Reconcile,

    /// Keep destroyed entries in the kernel until their event has been queued
    ///
    /// (NETLINK_BROADCAST_ERROR.) No destroy event is lost, only delayed. While events are not
    /// read, ended entries keep their memory and their place in the table; if that lasts, the table
    /// fills and packets of new connections are dropped. Every failed attempt is counted as a loss,
    /// so the numbers are upper bounds. New and update events can still be lost.
    #[arg(long)]
    reliable: bool,

    /// Size of the socket's receive buffer; an event needs 640 bytes
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = receive_buffer)]
    buffer: usize,

    /// Size up to which the receive buffer grows when it is half full
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = receive_buffer)]
    buffer_max: usize,

    /// Print statistics to stderr every TIME
    #[arg(long, value_name = "TIME", value_parser = time)]
    stats_interval: Option<Duration>,

    /// Write a heartbeat record every TIME: totals, queues, sinks and sysctls. Default: none
    ///
    /// It is a line as any other, also while nothing happens, so that a quiet stream, a dead one and
    /// one whose events are disabled look different.
    #[arg(long, value_name = "TIME", value_parser = time)]
    heartbeat: Option<Duration>,

    /// Follow all network namespaces of the host, also those that appear later
    #[arg(long, conflicts_with = "netns")]
    all_netns: bool,

    /// Keep all privileges
    ///
    /// By default all capabilities but CAP_NET_ADMIN (with --netns also CAP_SYS_PTRACE, with
    /// --all-netns also CAP_SYS_ADMIN) are dropped once the sockets are open. Root cannot write files of other
    /// users then.
    #[arg(long)]
    keep_privileges: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    context: ContextArgs,

    #[command(flatten)]
    sinks: SinkArgs,

    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FlowsArg {
    End,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum GapArg {
    Resync,
    Continue,
    Exit,
}

fn time(text: &str) -> Result<Duration, String> {
    match text.parse::<Seconds>().map_err(|error| error.to_string())? {
        Seconds(0) => Err("an interval must be longer than 0".into()),
        Seconds(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

fn reconcile(text: &str) -> Result<Reconcile, String> {
    match text {
        "auto" => Ok(Reconcile::Auto),
        "off" => Ok(Reconcile::Off),
        interval => time(interval).map(Reconcile::Every).map_err(|error| format!("{error}, auto or off")),
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    let Bytes(bytes) = text.parse().map_err(|error: QuantityError| error.to_string())?;
    usize::try_from(bytes).map_err(|_| format!("size '{text}' is too large"))
}

/// SO_RCVBUF is doubled and is an `int`: `__sock_set_rcvbuf` in net/core/sock.c.
fn receive_buffer(text: &str) -> Result<usize, String> {
    let size = bytes(text)?;
    if size <= 1 << 30 { Ok(size) } else { Err("the largest receive buffer is 1GiB".into()) }
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let options = args.options(host)?;
    // Without a file to reopen, SIGHUP means that the terminal is gone. `systemctl reload` sends it too.
    let reopens = options.sinks.iter().any(|sink| sink.kind.is_reopened) || SdNotify::is_expected();
    let interrupt = if reopens { Interrupt::listen_except_hangup()? } else { Interrupt::listen()? };
    let mut console = args.common.console();
    if let Some(note) = args.output.note(host) {
        console.note(note);
    }
    let StreamOutcome { end, undelivered } = stream::run(options, host, &interrupt, &mut console)?;
    report::print_undecided(&mut console, &Tally { undecided: end.totals.undecided, ..Tally::default() });
    if end.reason == DELETED {
        return Ok(Exit::Failed);
    }
    Ok(if end.reason == "gap" || undelivered > 0 { Exit::Partly } else { Exit::Done })
}

impl Args {
    /// These arguments with --expect, for `ctnl expect events`.
    ///
    /// # Errors
    /// A filter, which would not apply.
    pub fn of_expectations(self) -> Result<Self> {
        if self.filter.is_given() && !(self.new || self.update || self.destroy || self.flows.is_some()) {
            return Err(usage(
                "a filter is of entries, and does not apply to expectations\n  hint: select from the output",
            ));
        }
        Ok(Args { expect: true, ..self })
    }

    fn options(&self, host: &Host) -> Result<StreamOptions> {
        let filter = self.filter.filter(host)?;
        if self.filter.confirm_idle.is_some() {
            return Err(usage("--confirm-idle does not apply to events: an event has one sample of its entry"));
        }
        let (format, mut writer) = self.output.writer(host)?;
        if self.expect && !format.events.as_ref().is_some_and(|events| events.has_expectations) {
            return Err(usage("--expect: csv has no columns for expectations\n  hint: -o json or -o conntrack"));
        }
        let sinks = self.sinks.specs()?;
        let stream = stream::name(host);
        let context = self.context.context(host, &stream, format)?;
        writer.set_context(&context);
        Ok(StreamOptions {
            follow: self.follow_options(host, &stream),
            filter,
            timeouts: self.filter.timeout_options()?,
            scope: if self.all_netns { Scope::All } else { Scope::One(self.common.netns()?.pin()?) },
            buffer: self.buffer,
            keep_privileges: self.keep_privileges,
            sinks,
            sink_options: self.sinks.options(host, &writer, context),
            writer,
        })
    }

    fn follow_options(&self, host: &Host, stream: &str) -> FollowOptions {
        FollowOptions {
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
            heartbeat: self.heartbeat,
            stream: stream.into(),
            version: env!("CARGO_PKG_VERSION"),
            netfilter: host.netfilter(),
        }
    }

    fn kinds(&self) -> RecordKinds {
        let is_default = !(self.new || self.update || self.destroy || self.expect || self.flows.is_some());
        RecordKinds {
            new: self.new || is_default,
            update: self.update,
            destroy: self.destroy || is_default,
            expectations: self.expect,
            flows: self.flows.is_some(),
            begins: self.flows == Some(FlowsArg::Both),
        }
    }
}
