//! The environment of the event loop on a real host: clock, signals, messages, the service
//! manager, the sinks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ctnl::clock::{Clock, Time};
use ctnl::host::Host;
use ctnl::metrics::{self, SINK, STREAM, SinkSnapshot, StreamSnapshot};
use ctnl::output::{SinkState, WaitingLine};
use ctnl::units::Bytes;
use signal_hook::consts::SIGHUP;

use super::monitor::NamespaceMonitor;
use super::report::prefix;
use super::sinks::SharedSinks;
use crate::follow::{Environment, NamespaceChange, Notification};
use crate::host::sd_notify::SdNotify;
use crate::sink::Statistics;
use crate::term::console::Console;
use crate::term::interrupt::Interrupt;

/// The status that the service manager shows is at most this old.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// The sinks are checked at this interval.
const SINK_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// While files are being reopened, that is checked at this interval.
const REOPEN_POLL: Duration = Duration::from_millis(5);
/// A sink whose write does not return cannot reopen its file. The service manager is not kept waiting.
const REOPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Losses within this time are reported in one message.
const LOSS_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The host of a stream.
pub struct HostEnvironment<'a> {
    clock: Clock,
    console: &'a mut Console,
    interrupt: &'a Interrupt,
    sinks: SharedSinks,
    hangup: Arc<AtomicBool>,
    /// Files are being reopened since then.
    reloading_since: Option<Duration>,
    /// Every reader has closed its end.
    is_closed: bool,
    next_check: Duration,
    is_ending: bool,
    /// Sinks that were reported as down.
    down: Vec<String>,
    /// Damaged parts of spools that were reported.
    damaged: u64,
    monitor: Option<NamespaceMonitor>,
    manager: Option<SdNotify>,
    losses: UnreportedLosses,
    /// Entries that may end without an event were reported.
    has_reported_silent: bool,
}

/// Losses that were not reported yet.
#[derive(Debug, Default)]
struct UnreportedLosses {
    events: u64,
    uncounted: u64,
    reported_at: Option<Duration>,
}

/// Handles SIGHUP from now on. Whether one was received.
///
/// # Errors
/// What sigaction(2) may return.
pub fn listen_for_hangup() -> io::Result<Arc<AtomicBool>> {
    let hangup = Arc::default();
    signal_hook::flag::register(SIGHUP, Arc::clone(&hangup))?;
    Ok(hangup)
}

impl<'a> HostEnvironment<'a> {
    /// The environment of a stream into `sinks`, which SIGHUP reopens.
    pub fn new(
        host: &Host,
        console: &'a mut Console,
        interrupt: &'a Interrupt,
        sinks: SharedSinks,
        monitor: Option<NamespaceMonitor>,
        hangup: Arc<AtomicBool>,
    ) -> Self {
        let manager = SdNotify::from_env();
        let manager =
            manager.map_err(|error| console.warn(&format!("cannot notify the service manager: {error}"))).ok();
        HostEnvironment {
            clock: host.clock.clone(),
            console,
            interrupt,
            sinks,
            hangup,
            reloading_since: None,
            is_closed: false,
            next_check: Duration::ZERO,
            is_ending: false,
            down: Vec::new(),
            damaged: 0,
            monitor,
            manager,
            losses: UnreportedLosses::default(),
            has_reported_silent: false,
        }
    }

    /// The service manager, which is still to be notified while the sinks deliver.
    pub fn into_manager(self) -> Option<SdNotify> {
        self.manager
    }

    /// Reports the changes of the sinks.
    fn check_sinks(&mut self, now: Duration) {
        if now < self.next_check {
            return;
        }
        self.next_check = now + SINK_CHECK_INTERVAL;
        self.report_losses(now);
        self.is_closed = self.sinks.have_ended();
        self.sinks.take_warnings().iter().for_each(|warning| self.console.warn(warning));
        let sinks = self.sinks.statistics();
        self.report_damage(&sinks);
        sinks.into_iter().for_each(|sink| self.report_sink(sink));
    }

    /// Reopens files after SIGHUP. The reload is complete once they are open: until then, lines may be
    /// written to the files of before.
    fn check_hangup(&mut self, now: Duration) {
        if self.hangup.load(Ordering::Relaxed) && self.hangup.swap(false, Ordering::Relaxed) {
            if !self.is_ending {
                self.notify_manager(|manager| manager.reloading(now));
                self.reloading_since = Some(now);
            }
            self.sinks.reopen();
        }
        let Some(since) = self.reloading_since else { return };
        let is_too_long = now.saturating_sub(since) >= REOPEN_TIMEOUT;
        if is_too_long {
            self.console.warn("SIGHUP: a file has not been reopened yet, since a write to it does not return");
        }
        if is_too_long || self.sinks.are_reopened() {
            self.reloading_since = None;
            self.notify_manager(|manager| manager.ready("following"));
        }
    }

    fn report_sink(&mut self, sink: Statistics) {
        let was_down = self.down.contains(&sink.name);
        match sink.why {
            Some(why) if !was_down && !sink.ended => {
                self.console.warn(&format!("sink {} is down: {why}", sink.name));
                self.down.push(sink.name);
            }
            None if was_down => {
                self.console.warn(&format!("sink {} recovered, {} lines dropped", sink.name, sink.dropped));
                self.down.retain(|name| *name != sink.name);
            }
            _ => {}
        }
    }

    fn report_damage(&mut self, sinks: &[Statistics]) {
        let damaged = sinks.iter().map(|sink| sink.damaged).sum();
        if damaged > std::mem::replace(&mut self.damaged, damaged) {
            let name = sinks.iter().find(|sink| sink.damaged > 0).map_or("", |sink| &*sink.name);
            self.console.warn(&format!(
                "sink {name}: part of the spool is unreadable after a crash or a disk error; a gap record has the \
                 number of lines, unless it was the end of an earlier run"
            ));
        }
    }

    fn report_losses(&mut self, now: Duration) {
        let UnreportedLosses { events, uncounted, reported_at } = self.losses;
        if reported_at.is_some_and(|at| now.saturating_sub(at) < LOSS_REPORT_INTERVAL) || events + uncounted == 0 {
            return;
        }
        if events > 0 {
            self.console.warn(&format!("{events} events lost in the kernel: the receive buffer was full (ENOBUFS)"));
        }
        if uncounted > 0 {
            self.console.warn("an unknown number of events lost in the kernel: it did not count them");
        }
        self.losses = UnreportedLosses { events: 0, uncounted: 0, reported_at: Some(now) };
    }

    /// The figures of the stream and of each sink.
    fn figures(&self, snapshot: &StreamSnapshot) -> String {
        let mut line = metrics::line(STREAM, snapshot);
        for sink in self.sinks.statistics() {
            let Statistics { name, queued, spooled, delivered, dropped, .. } = sink;
            let snapshot = SinkSnapshot { queued, spooled, delivered, dropped };
            line.push_str(&format!(" {name}: {}", metrics::line(SINK, &snapshot)));
        }
        line
    }

    /// Notifies the service manager. An error is not fatal.
    fn notify_manager(&mut self, notify: impl FnOnce(&mut SdNotify) -> io::Result<()>) {
        if let Some(manager) = self.manager.as_mut().filter(|manager| manager.is_present())
            && let Err(error) = notify(manager)
        {
            self.console.detail(&format!("cannot notify the service manager: {error}"));
        }
    }
}

impl Environment for HostEnvironment<'_> {
    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    fn now(&mut self) -> Time {
        self.clock.now()
    }

    fn longest_wait(&self) -> Option<Duration> {
        let longest = self.manager.as_ref().and_then(SdNotify::longest_wait);
        if self.reloading_since.is_some() { Some(REOPEN_POLL) } else { longest }
    }

    fn status_interval(&self) -> Option<Duration> {
        self.manager.as_ref().filter(|manager| manager.is_present()).map(|_| STATUS_INTERVAL)
    }

    fn stop(&mut self) -> Option<&'static str> {
        let now = self.monotonic();
        if let Some(manager) = &mut self.manager {
            manager.alive(now);
        }
        self.check_hangup(now);
        self.check_sinks(now);
        if self.is_closed {
            return Some("closed");
        }
        if self.interrupt.requested() { Some(self.interrupt.name().unwrap_or("signal")) } else { None }
    }

    fn changes(&mut self) -> Vec<NamespaceChange> {
        self.monitor.as_mut().map(|monitor| monitor.changes(self.console)).unwrap_or_default()
    }

    fn sinks(&mut self) -> Vec<SinkState> {
        self.sinks.statistics().into_iter().map(sink_state).collect()
    }

    fn notify(&mut self, notification: Notification<'_>) {
        match notification {
            Notification::Ready => self.notify_manager(|manager| manager.ready("following")),
            Notification::Lost(lost) => {
                match lost {
                    Some(lost) => self.losses.events += lost,
                    None => self.losses.uncounted += 1,
                }
                let now = self.monotonic();
                self.report_losses(now);
            }
            Notification::Ending => {
                self.is_ending = true;
                self.reloading_since = None;
                self.notify_manager(|manager| manager.stopping("delivering what is queued"));
            }
            Notification::Stats(snapshot) => {
                let line = format!("stats: {}", self.figures(snapshot));
                self.console.warn(&line);
            }
            Notification::Status(snapshot) => {
                let status = format!("following: {}", self.figures(snapshot));
                self.notify_manager(|manager| manager.status(&status));
            }
            Notification::Silent { .. } => {
                if !std::mem::replace(&mut self.has_reported_silent, true) {
                    self.console.note(&describe(&notification));
                }
            }
            Notification::Grown { .. } | Notification::Resynced(_) | Notification::Resized => {
                self.console.detail(&describe(&notification));
            }
            Notification::Renamed { .. } => self.console.note(&describe(&notification)),
            Notification::PassFailed { .. } | Notification::Failed { .. } | Notification::Switched { .. } => {
                self.console.warn(&describe(&notification));
            }
        }
    }
}

/// The state of a sink in a heartbeat record.
fn sink_state(sink: Statistics) -> SinkState {
    let Statistics { name, queued, spooled, delivered, dropped, oldest, down_since, why, .. } = sink;
    let oldest = oldest.map(|(stream, seq)| WaitingLine { stream: stream.to_string(), seq, written_after: None });
    SinkState { name, snapshot: SinkSnapshot { queued, spooled, delivered, dropped }, oldest, down_since, why }
}

/// The message of a notification that is reported as it is.
fn describe(notification: &Notification<'_>) -> String {
    match notification {
        Notification::Grown { netns, buffer } => {
            format!("{}receive buffer: {}", prefix(*netns), Bytes::from(buffer.capacity / 2))
        }
        Notification::Silent { netns, entries } => format!(
            "{}{entries} entries are older than this subscription and may end without an event: the table is compared \
             when they can have expired and every 10 minutes, until none is left\n  hint: --reconcile off disables this, \
             net.netfilter.nf_conntrack_events = 1 prevents it for entries that are created from then on",
            prefix(*netns)
        ),
        Notification::Switched { netns, is_off: true } => format!(
            "{}net.netfilter.nf_conntrack_events is 0: entries that are created from now on have no records",
            prefix(*netns)
        ),
        Notification::Switched { netns, is_off: false } => format!(
            "{}net.netfilter.nf_conntrack_events is on again: entries that are created from now on have records",
            prefix(*netns)
        ),
        Notification::Resynced(resynced) => format!(
            "{}{}: {} entries in the live set, {} added, {} removed",
            prefix(resynced.netns),
            resynced.reason.name(),
            resynced.entries.unwrap_or(0),
            resynced.added,
            resynced.removed
        ),
        Notification::PassFailed { netns, error } => {
            format!("{}the dump of the table failed and will be repeated: {error}", prefix(*netns))
        }
        Notification::Failed { netns, error } => {
            format!("{netns}: stopped following; emitting destroy records for its entries: {error}")
        }
        Notification::Renamed { from, to } => {
            format!("the network namespace {} is called {to} from now on", from.unwrap_or_default())
        }
        Notification::Resized => "the hash table was resized during a dump; the dump is repeated".to_owned(),
        Notification::Ready
        | Notification::Ending
        | Notification::Lost(_)
        | Notification::Stats(_)
        | Notification::Status(_) => String::new(),
    }
}
