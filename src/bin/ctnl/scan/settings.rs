//! The settings by which idle times are computed (timeouts, policies, flowtables), read again while they
//! are used.
//!
//! An entry has the timeout that was set when its last packet arrived. Where a setting changed since the
//! command started, that is the value before or the value after the change, so an entry is judged by every
//! value that was read so far: the smallest possible one counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ctnl::age::{PreviousTimeout, TimeoutContext};
use ctnl::clock::Clock;
use ctnl::host::Host;
use ctnl::model::{Policies, TIMERS, Timeouts};
use ctnl::netlink::{Connection, Error};
use ctnl::sysctl::Sysctl;
use ctnl::table;
use ctnl::units::Nanos;

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
    pub fn read(connection: &Connection, host: &Host, previous: Vec<PreviousTimeout>) -> Result<Self, Error> {
        Self::read_over(connection.reopen()?, host, previous)
    }

    /// Reads the settings over `connection`.
    ///
    /// # Errors
    /// As [`TimeoutContext::read`].
    pub fn read_over(mut connection: Connection, host: &Host, previous: Vec<PreviousTimeout>) -> Result<Self, Error> {
        let (clock, netfilter) = (host.clock.clone(), host.netfilter());
        let read_at = clock.now().monotonic.0;
        let last = TimeoutContext::read(&mut connection, &netfilter, &host.kernel(), previous)?;
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
        self.joined = join(&self.joined, &context);
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

/// What an entry may have been refreshed by when first `earlier` and then `now` was in force.
fn join(earlier: &TimeoutContext, now: &TimeoutContext) -> TimeoutContext {
    let mut joined = TimeoutContext { timeouts: Timeouts::default(), ..now.clone() };
    joined.previous_timeouts.clone_from(&earlier.previous_timeouts);
    for row in &TIMERS {
        // A timeout that was not known at one time is not known.
        let (Some(before), Some(after)) = (earlier.timeouts.get(row.timer), now.timeouts.get(row.timer)) else {
            continue;
        };
        joined.timeouts.set(row.timer, after);
        let previous = PreviousTimeout { timer: row.timer, seconds: before };
        if before != after && !joined.previous_timeouts.contains(&previous) {
            joined.previous_timeouts.push(previous);
        }
    }
    joined.policies = both(&earlier.policies, &now.policies);
    joined
}

fn both(earlier: &Policies, now: &Policies) -> Policies {
    let mut joined = now.clone();
    earlier.iter().for_each(|(family, protocol)| joined.add(family, protocol));
    joined.flowtables |= earlier.flowtables;
    joined
}

#[cfg(test)]
mod tests {
    use ctnl::model::{Family, Timer};

    use super::*;

    #[test]
    fn settings_that_have_changed_are_joined_with_those_before() {
        let context = |seconds, policies: &[u8], flowtables| {
            let timeouts = Timeouts::default().with(Timer::Udp, seconds).with(Timer::Icmp, 30);
            let mut context = TimeoutContext { timeouts, ..TimeoutContext::default() };
            policies.iter().for_each(|protocol| context.policies.add(Family::V4, *protocol));
            context.policies.flowtables = flowtables;
            context
        };
        let first = join(&context(60, &[6], false), &context(600, &[17], true));
        let joined = join(&first, &context(60, &[], false));
        assert_eq!((joined.timeouts.get(Timer::Udp), joined.timeouts.get(Timer::Icmp)), (Some(60), Some(30)));
        let previous: Vec<_> = joined.previous_timeouts.iter().map(|previous| previous.seconds).collect();
        assert_eq!(previous, [60, 600]);
        assert!(joined.policies.may_bind(Family::V4, 6) && joined.policies.may_bind(Family::V4, 17));
        assert!(joined.policies.flowtables);
    }

    #[test]
    fn a_timeout_that_was_not_known_at_one_time_is_not_known() {
        let [known, unknown] = [Timeouts::default().with(Timer::Udp, 60), Timeouts::default()]
            .map(|timeouts| TimeoutContext { timeouts, ..TimeoutContext::default() });
        assert_eq!(join(&known, &unknown).timeouts.get(Timer::Udp), None);
        assert_eq!(join(&unknown, &known).timeouts.get(Timer::Udp), None);
    }
}
