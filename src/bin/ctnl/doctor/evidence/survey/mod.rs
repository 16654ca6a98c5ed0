//! The one dump of the table: what is counted while it runs, in memory that does not grow with the table.
//!
//! Each tally is a file: adding one is its file, a field of [`Survey`] and a line in [`Survey::add`], which is called for
//! each entry. Beside the 1 to 3 µs that the kernel needs for an entry, idle times, states, endpoints and unanswered entries
//! take 34 ns in a table of few hosts, 90 ns in one of `ctnl lab` with 26,000 sources.

mod busy_ports;
mod endpoints;
mod entry;
mod idle_times;
pub mod nat;
mod starts;
mod states;
mod unanswered;

use std::ops::ControlFlow;

use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Error};
use ctnl::table::DumpRequest;

use self::nat::KnownNat;
use crate::host::timeout_options::TimeoutOptions;
use crate::scan::{Selection, Settings, Watch, walk_matches};

pub use busy_ports::{BusyPorts, PortEntries, ServicePort};
pub use endpoints::{Destination, Endpoints};
pub use entry::{SurveyedEntry, Tally};
pub use idle_times::{AllIdleTimes, Older};
pub use nat::NatTally;
pub use starts::Starts;
pub use states::States;
pub use unanswered::{AllUnanswered, Missing, Unanswered};

/// What was counted of the table.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Entries.
    pub entries: u64,
    /// Of them, those that are not ASSURED.
    pub evictable: u64,
    /// Why entries may be missing; `None` where all of them were counted.
    pub incomplete: Option<&'static str>,
    /// By protocol and state.
    pub states: States,
    /// By idle time.
    pub idle: AllIdleTimes,
    /// By source, destination and zone.
    pub endpoints: Endpoints,
    /// Of which a part of the conversation is missing.
    pub unanswered: AllUnanswered,
    /// By protocol and destination port.
    pub ports: BusyPorts,
    /// With NAT.
    pub nat: NatTally,
    /// By whether they are older than those who listen.
    pub starts: Starts,
}

impl Survey {
    /// A survey without entries, which compares those that it will count with `nat` and with the time of the first
    /// listener, in ns of `CLOCK_REALTIME`.
    pub fn beside(nat: KnownNat, first_listener: Option<u64>) -> Self {
        Survey { nat: NatTally::new(nat), starts: Starts::beside(first_listener), ..Survey::default() }
    }

    /// Dumps the table into this survey. Ends early at a signal.
    ///
    /// # Errors
    /// The kernel refuses the dump, or a setting that idle times depend on cannot be read.
    pub fn take(mut self, connection: &mut Connection, host: &Host, watch: &mut Watch<'_>) -> Result<Self, Error> {
        let settings = Settings::read(connection, host, &TimeoutOptions::default())?;
        let mut selection = Selection::by(Filter::default(), settings, host.clock.now().realtime.0);
        let (_, is_interrupted) = walk_matches(connection, DumpRequest::default(), &mut selection, watch, |subject| {
            self.add(&SurveyedEntry { flow: subject.flow, idle: subject.idle() });
            ControlFlow::Continue(())
        })?;
        self.incomplete = match (is_interrupted, watch.warn_if_resized()) {
            (true, _) => Some("interrupted before the end of the table"),
            (_, true) => Some("the hash table was resized during the dump"),
            _ => None,
        };
        Ok(self)
    }

    /// Counts an entry.
    #[inline]
    pub fn add(&mut self, entry: &SurveyedEntry<'_>) {
        self.entries += 1;
        self.evictable += u64::from(entry.is_evictable());
        self.states.add(entry);
        self.idle.add(entry);
        self.endpoints.add(entry);
        self.unanswered.add(entry);
        self.ports.add(entry);
        self.nat.add(entry);
        self.starts.add(entry);
    }
}
