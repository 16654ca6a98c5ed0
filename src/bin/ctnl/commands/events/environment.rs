//! What the stream needs of the host: clock, signals, stderr, the service manager.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ctnl::table::Buffer;
use ctnl::units::Bytes;
use signal_hook::consts::SIGHUP;

use super::poller::Watcher;
use super::sinks::Places;
use crate::follow::{Change, Environment, Notification, Snapshot};
use crate::host::event_sysctls::Settings;
use crate::host::sd_notify::SdNotify;
use crate::sink::Statistics;
use crate::term::console::{Console, percent};
use crate::term::interrupt::Interrupt;

/// Time between two looks at the places.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Losses within this time are told together.
const LOSSES: Duration = Duration::from_secs(1);

/// The host.
pub struct Host<'a> {
    console: &'a mut Console,
    interrupt: &'a Interrupt,
    places: Places,
    hangup: Arc<AtomicBool>,
    /// Nobody reads any more.
    closed: bool,
    /// When the places are to be looked after next.
    look_at: Duration,
    /// The manager was told of the end.
    ends: bool,
    /// Places that take no lines, which was said.
    down: Vec<String>,
    /// Parts of spools that could not be read, which was said.
    damaged: u64,
    watcher: Option<Watcher>,
    supervisor: Option<SdNotify>,
    begun: Instant,
    /// Losses that were not told yet, and when the last ones were.
    lost: u64,
    told: Option<Duration>,
}

impl<'a> Host<'a> {
    /// This host.
    pub fn new(
        console: &'a mut Console,
        interrupt: &'a Interrupt,
        places: Places,
        watcher: Option<Watcher>,
    ) -> io::Result<Self> {
        let supervisor = SdNotify::from_env();
        let supervisor =
            supervisor.map_err(|error| console.warn(&format!("the service manager is not told: {error}"))).ok();
        let hangup = Arc::default();
        signal_hook::flag::register(SIGHUP, Arc::clone(&hangup))?;
        let (begun, down) = (Instant::now(), Vec::new());
        Ok(Host {
            console,
            interrupt,
            places,
            hangup,
            closed: false,
            look_at: Duration::ZERO,
            ends: false,
            down,
            damaged: 0,
            watcher,
            supervisor,
            begun,
            lost: 0,
            told: None,
        })
    }

    /// What was set in the namespaces that were watched, by their names.
    pub fn into_settings(self) -> Vec<(String, Settings)> {
        let Host { watcher, console, .. } = self;
        watcher.into_iter().flat_map(|watcher| watcher.into_settings(console)).collect()
    }

    /// Opens files anew where that was asked for, and says what has become of the places.
    fn look_after_places(&mut self) {
        let now = self.begun.elapsed();
        if now < self.look_at {
            return;
        }
        self.look_at = now + LOOK_EVERY;
        if self.hangup.swap(false, Ordering::Relaxed) {
            self.hang_up();
        }
        self.tell_losses();
        self.closed = self.places.have_ended();
        self.tell_places();
    }

    fn hang_up(&mut self) {
        if self.ends {
            return self.places.hangup();
        }
        self.tell_supervisor(SdNotify::reloading);
        self.places.hangup();
        self.tell_supervisor(|supervisor| supervisor.ready("following"));
    }

    fn tell_places(&mut self) {
        let places = self.places.statistics();
        self.tell_damage(&places);
        for place in places {
            let was_down = self.down.contains(&place.name);
            match place.why {
                Some(why) if !was_down && !place.ended => {
                    self.console.warn(&format!("{} takes no lines: {why}", place.name));
                    self.down.push(place.name);
                }
                None if was_down => {
                    let left_out = match place.dropped {
                        0 => String::new(),
                        dropped => format!("; {dropped} were left out so far"),
                    };
                    self.console.warn(&format!("{} takes lines again{left_out}", place.name));
                    self.down.retain(|name| *name != place.name);
                }
                _ => {}
            }
        }
    }

    fn tell_damage(&mut self, places: &[Statistics]) {
        let damaged = places.iter().map(|place| place.damaged).sum();
        if damaged > std::mem::replace(&mut self.damaged, damaged) {
            let name = places.iter().find(|place| place.damaged > 0).map_or("", |place| &*place.name);
            self.console.warn(&format!(
                "{name}: a part of the spool cannot be read, as a crash or a bad disk leaves it: a gap in the \
                 stream has the number of lines, unless it was the end of an earlier run"
            ));
        }
    }

    fn tell_losses(&mut self) {
        let now = self.begun.elapsed();
        let is_due = self.told.is_none_or(|told| now.saturating_sub(told) >= LOSSES);
        if self.lost > 0 && is_due {
            let lost = std::mem::take(&mut self.lost);
            self.console.warn(&format!("{lost} events lost in the kernel: its queue was full"));
            self.told = Some(now);
        }
    }

    fn tell_stats(&mut self, snapshot: &Snapshot) {
        let mut line = stats(snapshot);
        for place in self.places.statistics() {
            line.push_str(&waiting(&place));
        }
        self.console.warn(&line);
        self.tell_supervisor(|supervisor| supervisor.status(&line));
    }

    /// A manager that cannot be reached is no reason to stop.
    fn tell_supervisor(&mut self, tell: impl FnOnce(&mut SdNotify) -> std::io::Result<()>) {
        if let Some(supervisor) = self.supervisor.as_mut().filter(|supervisor| supervisor.is_present())
            && let Err(error) = tell(supervisor)
        {
            self.console.detail(&format!("the service manager was not told: {error}"));
        }
    }
}

impl Environment for Host<'_> {
    fn wall_clock(&mut self) -> u64 {
        wall_clock()
    }

    fn elapsed(&mut self) -> Duration {
        self.begun.elapsed()
    }

    fn longest_wait(&self) -> Option<Duration> {
        self.supervisor.as_ref().and_then(SdNotify::longest_wait)
    }

    fn stop(&mut self) -> Option<&'static str> {
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.alive(Instant::now());
        }
        self.look_after_places();
        if self.closed {
            return Some("closed");
        }
        if self.interrupt.requested() { Some(self.interrupt.name().unwrap_or("signal")) } else { None }
    }

    fn changes(&mut self) -> Vec<Change> {
        self.watcher.as_mut().map(|watcher| watcher.changes(self.console)).unwrap_or_default()
    }

    fn notice(&mut self, notice: Notification<'_>) {
        let place = |netns: Option<&str>| netns.map(|netns| format!("{netns}: ")).unwrap_or_default();
        match notice {
            Notification::Ready => self.tell_supervisor(|supervisor| supervisor.ready("following")),
            Notification::Grown { netns, buffer: Buffer { got, .. } } => {
                self.console.detail(&format!("{}receive buffer: now {}", place(netns), Bytes::from(got / 2)));
            }
            Notification::Lost(lost) => {
                self.lost += lost;
                self.tell_losses();
            }
            Notification::Resynced(resynced) => self.console.detail(&format!(
                "{}{}: {} entries known, {} added, {} removed",
                place(resynced.netns),
                resynced.why.name(),
                resynced.entries,
                resynced.added,
                resynced.removed
            )),
            Notification::PassFailed { netns, error } => {
                self.console
                    .warn(&format!("{}the table could not be dumped, and will be again: {error}", place(netns)));
            }
            Notification::Failed { netns, error } => {
                self.console.warn(&format!("{netns}: not followed any more, its entries are told as gone: {error}"));
            }
            Notification::Resized => {
                self.console.detail("the kernel's hash table was resized during a dump, which is done again");
            }
            Notification::Ending => {
                self.ends = true;
                self.tell_supervisor(|supervisor| supervisor.stopping("delivering what is queued"));
            }
            Notification::Stats(snapshot) => self.tell_stats(snapshot),
        }
    }
}

fn stats(snapshot: &Snapshot) -> String {
    let Snapshot { totals, records, queued, capacity, .. } = snapshot;
    let entries = snapshot.entries.map(|entries| format!(" entries={entries}")).unwrap_or_default();
    let buffer = Bytes(*capacity / 2).to_string();
    format!(
        "stats: rate={}/s received={} lost={} queue={} buffer={} records={records}{entries} namespaces={}",
        snapshot.rate(),
        totals.received,
        totals.lost,
        percent(*queued, *capacity).replace(' ', ""),
        buffer.replace(' ', ""),
        snapshot.streams
    )
}

/// What waits before a place, and what it did not get.
fn waiting(place: &Statistics) -> String {
    let Statistics { name, queued, spooled, dropped, .. } = place;
    format!(" {name}: waiting={queued} spooled={spooled} dropped={dropped}")
}

/// Nanoseconds since 1970.
pub fn wall_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// A name that no other run has: when it began, and the process.
pub fn stream_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{}", now.as_nanos(), std::process::id())
}
