//! The settings by which idle times are computed (timeouts, policies, flowtables), read again while they
//! are used.
//!
//! An entry has the timeout that was set when its last packet arrived. Where a setting changed since the
//! command started, that is the value before or the value after the change, so an entry is judged by every
//! value that was read so far: the smallest possible one counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ctnl::age::TimeoutContext;
use ctnl::clock::Clock;
use ctnl::host::Host;
use ctnl::model::{TIMERS, Timeouts};
use ctnl::netlink::{Connection, Error};
use ctnl::sysctl::Sysctl;
use ctnl::table;
use ctnl::units::Nanos;

use crate::host::timeout_options::TimeoutOptions;

/// How old the settings may be by which a walk judges. Reading them takes 0.1 to 0.2 ms.
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
    /// What was read so far, joined.
    joined: TimeoutContext,
}

impl Settings {
    /// Reads the settings of the namespace of `connection`, over a second connection.
    ///
    /// # Errors
    /// As [`TimeoutContext::read`].
    pub fn read(connection: &Connection, host: &Host, timeouts: &TimeoutOptions) -> Result<Self, Error> {
        Self::read_over(connection.reopen()?, host, timeouts)
    }

    /// Reads the settings over `connection`.
    ///
    /// # Errors
    /// As [`TimeoutContext::read`].
    pub fn read_over(mut connection: Connection, host: &Host, timeouts: &TimeoutOptions) -> Result<Self, Error> {
        let (clock, netfilter) = (host.clock.clone(), host.netfilter());
        let read_at = clock.now().monotonic.0;
        let last = timeouts.read(&mut connection, host)?;
        let state = State { connection, netfilter, joined: last.clone(), last };
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
        let policies = table::policies(&mut self.connection)?;
        let mut timeouts = table::timeouts(&mut self.connection)?;
        self.add_files(&mut timeouts)?;
        let context = TimeoutContext { timeouts, policies, ..self.last.clone() };
        if context == self.last {
            return Ok(false);
        }
        self.joined = context.merge(&self.joined);
        self.last = context;
        Ok(true)
    }

    /// Adds the timeouts that the last reading found in files and netlink does not have.
    fn add_files(&self, timeouts: &mut Timeouts) -> Result<(), Error> {
        let is_in_file = |row: &&ctnl::model::TimerRow| {
            timeouts.get(row.timer).is_none() && self.last.timeouts.get(row.timer).is_some()
        };
        let rows: Vec<_> = TIMERS.iter().filter(is_in_file).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let netfilter = &self.netfilter;
        // Another namespace is entered by a thread of its own.
        self.connection.netns().run(|| {
            for row in rows {
                let seconds = row.sysctl.and_then(|name| netfilter.read(name).ok());
                if let Some(seconds) = seconds.and_then(|seconds| u32::try_from(seconds).ok()) {
                    timeouts.set(row.timer, seconds);
                }
            }
        })
    }
}
