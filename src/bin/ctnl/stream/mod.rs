//! The event stream of a host as a service: opens the namespaces and the sinks, drops
//! privileges, runs the event loop ([`crate::follow`]) and delivers what is queued at the end.

mod deletion;
mod environment;
mod monitor;
mod opener;
mod poll;
mod report;
mod sinks;
mod starts;

use std::sync::Arc;

use anyhow::{Context, Result};
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::netlink::Netns;
use ctnl::output::EventWriter;
use ctnl::table::Subscription;

use self::environment::HostEnvironment;
use self::monitor::{NamespaceMonitor, UnstartedMonitor};
use self::opener::Opener;
use crate::follow::{FollowOptions, Lines, NamespaceStream, RecordKinds, StreamEnd, follow};
use crate::host::namespaces::KeptNamespace;
use crate::host::privileges::{self, Needs};
use crate::host::procfs;
use crate::sink::{SinkOptions, SinkSpec};
use crate::term::console::Console;
use crate::term::interrupt::Interrupt;

pub use self::sinks::{gap_formatter, header, line_test};

/// The network namespaces to follow.
#[derive(Debug)]
pub enum Scope {
    /// This one, which is kept open.
    One(Netns),
    /// All of the host, also those that appear later.
    All,
}

/// The options of a stream.
pub struct StreamOptions {
    /// The options of the event loop.
    pub follow: FollowOptions,
    /// The entries to report.
    pub filter: Filter,
    /// Timeouts that were in force before a sysctl was changed.
    pub timeouts: crate::host::timeout_options::TimeoutOptions,
    /// The namespaces.
    pub scope: Scope,
    /// The requested size of each socket's queue, in bytes.
    pub buffer: usize,
    /// Whether privileges are kept that the stream does not need.
    pub keep_privileges: bool,
    /// The format of the records.
    pub writer: EventWriter,
    /// The sinks.
    pub sinks: Vec<SinkSpec>,
    /// The options of the sinks.
    pub sink_options: SinkOptions,
}

/// The end of a stream.
#[derive(Debug)]
pub struct StreamOutcome {
    /// The end of the event loop.
    pub end: StreamEnd,
    /// Lines that no sink will deliver.
    pub undelivered: u64,
}

/// Runs a stream until a signal, the end of its reader, or a loss with `--on-gap exit`.
///
/// # Errors
/// A namespace or a sink cannot be opened; privileges cannot be dropped; the socket fails.
pub fn run(options: StreamOptions, host: &Host, interrupt: &Interrupt, console: &mut Console) -> Result<StreamOutcome> {
    // Before anything takes time: until then, SIGHUP ends the process.
    let hangup = environment::listen_for_hangup()?;
    let (streams, monitor) = open(&options, host, console)?;
    // A thread inherits the privileges of its creator: drop them before the first is started.
    if !options.keep_privileges {
        let needs = Needs {
            all_netns: matches!(options.scope, Scope::All),
            other_netns: matches!(options.scope, Scope::One(Netns::Pinned(_))),
        };
        let kept = privileges::drop_all_but(needs, &host.proc())?;
        console.detail(&kept.to_string());
    }
    let monitor = monitor.map(NamespaceMonitor::start).transpose()?;
    let StreamOptions { follow: follow_options, filter, writer, scope, sinks, sink_options, keep_privileges, .. } =
        options;
    // It would keep a namespace that has been deleted.
    drop(scope);
    let mut sinks = sinks::open(&sinks, &sink_options, !keep_privileges)?;
    let mut env = HostEnvironment::new(host, console, interrupt, sinks.clone(), monitor, hangup);
    let lines = Lines::new(Arc::clone(&follow_options.stream), writer, &mut sinks);
    let end = follow(follow_options, filter, streams, lines, &mut env);
    // Ends the thread of the monitor.
    let manager = env.into_manager();
    let undelivered = sinks.finish(console, manager, &host.clock);
    let end = end?;
    report::end(console, &end);
    Ok(StreamOutcome { end, undelivered })
}

fn open(
    options: &StreamOptions,
    host: &Host,
    console: &mut Console,
) -> Result<(Vec<NamespaceStream>, Option<UnstartedMonitor>)> {
    let opener = Opener::new(
        subscription(options.buffer, &options.follow, &options.filter),
        &options.filter,
        options.timeouts.clone(),
        host.clone(),
    )
    .with_needs_of(&options.follow);
    match &options.scope {
        Scope::All => {
            procfs::require(host, "--all-netns")?;
            let (streams, monitor) = NamespaceMonitor::open(opener, console)?;
            Ok((streams, Some(monitor)))
        }
        Scope::One(netns) => {
            let stream = opener.open(netns, None)?;
            report::start(console, host, netns, stream.buffer());
            let Netns::Pinned(pinned) = netns else { return Ok((vec![stream], None)) };
            let kept = KeptNamespace::new(&host.proc(), pinned).context("read the inode number of the namespace")?;
            Ok((vec![stream.with_inode(kept.inode())], Some(NamespaceMonitor::of_one(kept))))
        }
    }
}

/// The live set needs `new` and `destroy` events, also where they are not written.
fn subscription(buffer: usize, options: &FollowOptions, filter: &Filter) -> Subscription {
    let keeps = options.keeps_live_set();
    let RecordKinds { new, update, destroy, expectations, flows, begins: _ } = options.kinds;
    Subscription {
        new: new || keeps,
        update,
        destroy: destroy || flows || keeps,
        expectations,
        buffer,
        reliable: options.reliable,
        exclude: filter.exclusion(),
    }
}

/// A name for a stream that no other run has: the time of its start, and the process.
pub fn name(host: &Host) -> String {
    format!("{:x}-{}", host.clock.now().realtime.0, std::process::id())
}
