//! Opens the stream of a network namespace.

use ctnl::age::IdleEstimator;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Error, Netns};
use ctnl::table::{Events, Subscription};

use crate::follow::NamespaceStream;
use crate::host::process_by_portid::ProcessByPortid;
use crate::host::timeout_options::TimeoutOptions;

/// Opens the stream of each namespace with the same options.
#[derive(Debug)]
pub struct Opener {
    /// The host.
    pub host: Host,
    subscription: Subscription,
    needs_idle: bool,
    timeouts: TimeoutOptions,
}

impl Opener {
    /// Opens `subscription`, for events that are judged by `filter`.
    pub fn new(subscription: Subscription, filter: &Filter, timeouts: TimeoutOptions, host: Host) -> Self {
        Opener { host, subscription, needs_idle: filter.needs().idle, timeouts }
    }

    /// Subscribes in `netns`. Whatever is read of the table is read after that.
    ///
    /// # Errors
    /// The namespace cannot be entered; a socket cannot be opened; the timeouts cannot be read.
    pub fn open(&self, netns: &Netns, name: Option<String>) -> Result<NamespaceStream, Error> {
        let events = Events::subscribe(netns, &self.subscription)?;
        let mut connection = Connection::open(netns)?;
        let ages = if self.needs_idle {
            IdleEstimator::new(&self.timeouts.read(&mut connection, &self.host)?, 0)
        } else {
            IdleEstimator::without_timeouts(0)
        };
        // Without it the records have ports without the names of processes.
        let processes = ProcessByPortid::of(netns, self.host.proc()).ok();
        let netfilter = self.host.netfilter();
        let setting = netns.run(|| netfilter.open_read_only("nf_conntrack_events").ok())?;
        Ok(NamespaceStream::new(name, Box::new(events), connection, ages, processes).with_event_sysctl(setting))
    }
}
