//! Opens the stream of a network namespace.

use ctnl::age::IdleEstimator;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Error, Netns};
use ctnl::table::{Events, Subscription};

use crate::follow::{FollowOptions, NamespaceStream, ReportedSysctls};
use crate::host::process_by_portid::ProcessByPortid;
use crate::host::timeout_options::TimeoutOptions;
use crate::host::timeout_refresh::TimeoutRefresh;

/// Opens the stream of each namespace with the same options.
#[derive(Debug)]
pub struct Opener {
    /// The host.
    pub host: Host,
    subscription: Subscription,
    /// The filter needs the timeouts.
    needs_timeouts: bool,
    /// Records have what they show, if they can be read.
    shows_timeouts: bool,
    reports_sysctls: bool,
    timeouts: TimeoutOptions,
}

impl Opener {
    /// Opens `subscription`, for events that are judged by `filter`.
    pub fn new(subscription: Subscription, filter: &Filter, timeouts: TimeoutOptions, host: Host) -> Self {
        let needs_timeouts = filter.needs().idle;
        Opener { host, subscription, needs_timeouts, shows_timeouts: false, reports_sysctls: false, timeouts }
    }

    /// The same with what the records of `options` need.
    pub fn with_needs_of(self, options: &FollowOptions) -> Self {
        Opener { shows_timeouts: options.kinds.flows, reports_sysctls: options.heartbeat.is_some(), ..self }
    }

    /// Subscribes in `netns`. Whatever is read of the table is read after that.
    ///
    /// # Errors
    /// The namespace cannot be entered; a socket cannot be opened; the timeouts cannot be read.
    pub fn open(&self, netns: &Netns, name: Option<String>) -> Result<NamespaceStream, Error> {
        let events = Events::subscribe(netns, &self.subscription)?;
        let mut connection = Connection::open(netns)?;
        let ages = IdleEstimator::without_timeouts(0);
        let timeouts = self.timeouts(&mut connection)?;
        // Without it the records have ports without the names of processes.
        let processes = ProcessByPortid::of(netns, self.host.proc()).ok();
        let netfilter = self.host.netfilter();
        let setting = netns.run(|| netfilter.open_read_only("nf_conntrack_events").ok())?;
        let open = |name| netfilter.open_read_only(name).ok();
        let reported =
            || ReportedSysctls { acct: open("nf_conntrack_acct"), timestamp: open("nf_conntrack_timestamp") };
        let reported = if self.reports_sysctls { netns.run(reported)? } else { ReportedSysctls::default() };
        let stream = NamespaceStream::new(name, Box::new(events), connection, ages, processes);
        let stream = stream.with_event_sysctl(setting).with_reported_sysctls(reported);
        Ok(match timeouts {
            Some(timeouts) => stream.with_timeouts(timeouts),
            None => stream,
        })
    }

    fn timeouts(&self, connection: &mut Connection) -> Result<Option<TimeoutRefresh>, Error> {
        if !self.needs_timeouts && !self.shows_timeouts {
            return Ok(None);
        }
        match TimeoutRefresh::begin(self.timeouts.clone(), self.host.clone(), connection) {
            Err(error) if self.needs_timeouts => Err(error),
            read => Ok(read.ok()),
        }
    }
}
