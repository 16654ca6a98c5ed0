//! The settings by which idle times are computed (timeouts, policies, flowtables, notes of written timeouts),
//! read again while they are used.
//!
//! An entry has the timeout that was set when its last packet arrived. Where a setting changed since the
//! command started, that is the value before or the value after the change, so an entry is judged by every
//! value that was read so far: the smallest possible one counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ctnl::age::TimeoutContext;
use ctnl::clock::Clock;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Error};
use ctnl::sysctl::Sysctl;
use ctnl::units::Nanos;

use crate::host::timeout_notes::TimeoutNotes;
use crate::host::timeout_options::TimeoutOptions;

/// How old the settings may be by which a walk judges. Reading them again takes 0.05 ms (0.09 ms for the first
/// reading, which looks for files, too), so this costs a walk 0.25 %; the deleting thread reads them before
/// each batch.
const MAX_AGE: Nanos = Nanos(20_000_000);

/// The settings of one namespace, shared by the threads of a command.
#[derive(Debug, Clone)]
pub struct Settings(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    /// Grows with each change.
    version: AtomicU64,
    /// When the last reading began, by `CLOCK_MONOTONIC`.
    read_at: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    netfilter: Sysctl,
    last: TimeoutContext,
    notes: TimeoutNotes,
    /// What was read so far, merged.
    joined: TimeoutContext,
}

impl Settings {
    /// Reads the settings of the namespace of `connection`, over a second connection.
    ///
    /// # Errors
    /// As [`TimeoutOptions::read`].
    pub fn read(connection: &Connection, host: &Host, options: &TimeoutOptions) -> Result<Self, Error> {
        Self::read_over(connection.reopen()?, host, options)
    }

    /// Reads the settings over `connection`.
    ///
    /// # Errors
    /// As [`TimeoutOptions::read`].
    pub fn read_over(mut connection: Connection, host: &Host, options: &TimeoutOptions) -> Result<Self, Error> {
        let (clock, netfilter) = (host.clock.clone(), host.netfilter());
        let read_at = clock.now().monotonic.0;
        let notes = TimeoutNotes::of(connection.netns(), host);
        let last = options.read_with(&mut connection, host, &notes)?;
        let state = State { connection, netfilter, notes, joined: last.clone(), last };
        let (version, read_at) = (AtomicU64::new(1), AtomicU64::new(read_at));
        Ok(Settings(Arc::new(Shared { clock, version, read_at, state: Mutex::new(state) })))
    }

    /// Reads them again unless the last reading began at `after` (of `CLOCK_MONOTONIC`) or later. The
    /// version, which grows when something has changed.
    ///
    /// # Errors
    /// A setting cannot be read.
    pub fn refresh(&self, after: Nanos) -> Result<u64, Error> {
        let shared = &*self.0;
        if shared.read_at.load(Ordering::Acquire) < after.0 {
            let mut state = self.state();
            let read_at = shared.clock.now().monotonic;
            if state.read_again()? {
                shared.version.fetch_add(1, Ordering::Release);
            }
            shared.read_at.store(read_at.0, Ordering::Release);
        }
        Ok(shared.version.load(Ordering::Acquire))
    }

    /// Reads them again where the last reading is older than a walk may use.
    ///
    /// # Errors
    /// A setting cannot be read.
    pub fn refresh_if_old(&self) -> Result<u64, Error> {
        self.refresh(Nanos(self.0.clock.now().monotonic.0.saturating_sub(MAX_AGE.0)))
    }

    /// Everything that was read so far, with its version.
    pub fn context(&self) -> (u64, TimeoutContext) {
        let state = self.state();
        (self.0.version.load(Ordering::Acquire), state.joined.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether something has changed.
    fn read_again(&mut self) -> Result<bool, Error> {
        let mut context = self.last.read_again(&mut self.connection, &self.netfilter)?;
        self.notes.read_into(&mut context);
        if context == self.last {
            return Ok(false);
        }
        self.joined = context.merge(&self.joined);
        self.last = context;
        Ok(true)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::atomic::AtomicU32;

    use ctnl::clock::Time;
    use ctnl::filter::{Context, Filter, ServiceNames};
    use ctnl::model::Flow;
    use ctnl::table::{DatagramTime, DumpRequest};

    use super::super::{Selection, Watch, walk_matches};
    use super::*;
    use crate::fake;
    use crate::term::console::Console;
    use crate::term::interrupt::Interrupt;

    /// A clock, and the settings of a kernel with one timeout, which is 432,000 s at first.
    struct ChangingHost {
        host: Host,
        now: Arc<AtomicU64>,
        timeout: Arc<AtomicU32>,
        settings: Settings,
    }

    fn changing_host() -> ChangingHost {
        let (now, timeout) = (Arc::new(AtomicU64::new(MAX_AGE.0)), Arc::new(AtomicU32::new(432_000)));
        let shown = Arc::clone(&now);
        let read = move || Time { monotonic: Nanos(shown.load(Ordering::Relaxed)), ..Time::default() };
        let host = Host::at("/nonexistent", Clock::from_fn(read));
        let connection = fake::udp_timeouts(Arc::clone(&timeout));
        let settings = Settings::read_over(connection, &host, &TimeoutOptions::default()).unwrap();
        ChangingHost { host, now, timeout, settings }
    }

    fn idle_for_an_hour() -> Filter {
        let context = Context {
            services: &ServiceNames::default(),
            label: &|_| None,
            read_file: &|_| Err(std::io::ErrorKind::NotFound.into()),
        };
        Filter::parse("idle >= 1h", &context).unwrap()
    }

    #[test]
    fn a_timeout_that_another_process_writes_meanwhile_is_a_change() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path(), Clock::system());
        let connection = fake::udp_timeouts(Arc::new(AtomicU32::new(432_000)));
        let settings = Settings::read_over(connection, &host, &TimeoutOptions::default()).unwrap();
        assert_eq!(settings.refresh(Nanos(u64::MAX)).unwrap(), 1);
        // Notes that cannot be read stand for any that could not be read at first.
        std::fs::create_dir(root.path().join("run")).unwrap();
        std::fs::write(host.path(crate::host::timeout_notes::FOLDER), "").unwrap();
        assert_eq!(settings.refresh(Nanos(u64::MAX)).unwrap(), 2);
        assert!(settings.context().1.unknown_written_timeouts);
        std::fs::remove_file(host.path(crate::host::timeout_notes::FOLDER)).unwrap();
        assert_eq!(settings.refresh(Nanos(u64::MAX)).unwrap(), 3);
        assert!(settings.context().1.unknown_written_timeouts, "entries may have been judged without them");
    }

    #[test]
    fn settings_are_read_again_only_if_they_are_older_than_required() {
        let ChangingHost { now, timeout, settings, .. } = changing_host();
        timeout.store(600, Ordering::Relaxed);
        assert_eq!(settings.refresh(MAX_AGE).unwrap(), 1, "the last reading began then");
        now.fetch_add(MAX_AGE.0, Ordering::Relaxed);
        assert_eq!(settings.refresh_if_old().unwrap(), 1);
        now.fetch_add(1, Ordering::Relaxed);
        assert_eq!(settings.refresh_if_old().unwrap(), 2);
        assert_eq!(settings.refresh(Nanos(u64::MAX)).unwrap(), 2, "nothing has changed");
        timeout.store(700, Ordering::Relaxed);
        assert_eq!(settings.refresh(Nanos(u64::MAX)).unwrap(), 3);
    }

    #[test]
    fn an_entry_is_judged_by_the_smallest_timeout_that_was_in_force_since_the_command_started() {
        let ChangingHost { timeout, settings, .. } = changing_host();
        let mut selection = Selection::by(idle_for_an_hour(), settings, 0);
        let mut matches = |left| {
            let flow = Flow { timeout: Some(left), ..fake::flow(1) };
            selection.refresh_settings(Nanos(u64::MAX)).unwrap();
            selection.judge(&flow, &DatagramTime::default()).is_some()
        };
        assert!(matches(599) && matches(400_000) && !matches(431_990));
        for seconds in [600, 432_000] {
            timeout.store(seconds, Ordering::Relaxed);
            assert!(!matches(599), "a packet would have set 600");
            assert!(matches(400_000) && !matches(431_990), "its last packet was before the change");
        }
    }

    #[test]
    fn a_timeout_that_is_lowered_between_two_datagrams_makes_no_entry_of_the_second_one_idle() {
        let ChangingHost { host, now, timeout, settings } = changing_host();
        let entry = |port| Flow { timeout: Some(599), ..fake::flow(port) };
        let mut table = fake::table(vec![vec![entry(1), entry(2)], vec![entry(3), entry(4)]]);
        let mut selection = Selection::by(idle_for_an_hour(), settings, 0);
        let (mut console, interrupt) = (Console::new(true, false), Interrupt::default());
        let mut watch = Watch::new(&mut console, &interrupt, &host, 0);
        let mut ports = Vec::new();
        walk_matches(&mut table, DumpRequest::default(), &mut selection, &mut watch, |subject| {
            ports.extend(subject.flow.orig.sport());
            timeout.store(600, Ordering::Relaxed);
            now.fetch_add(MAX_AGE.0, Ordering::Relaxed);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(ports, [1, 2]);
    }
}
