//! How the stream of a namespace is opened, and what is said of it at the start.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use ctnl::age::{IdleEstimator, PreviousTimeout, TimeoutContext};
use ctnl::filter::Filter;
use ctnl::netlink::{Connection, Error, Netns};
use ctnl::sysctl::Sysctl;
use ctnl::table::{Buffer, Events, Subscription};
use ctnl::units::Bytes;

use crate::follow::Stream;
use crate::host::event_sysctls::{self, Settings};
use crate::host::process_by_portid::ProcessByPortid;
use crate::term::console::Console;

/// Opens streams, one like the other.
#[derive(Debug)]
pub struct Opener {
    subscription: Subscription,
    needs_idle: bool,
    previous_timeouts: Vec<PreviousTimeout>,
    /// Whether it turns on what the stream lives on.
    pub sets_sysctls: bool,
}

impl Opener {
    /// Opens what `subscription` says, to be judged by `filter`.
    pub fn new(
        subscription: Subscription,
        filter: &Filter,
        previous_timeouts: Vec<PreviousTimeout>,
        sets_sysctls: bool,
    ) -> Self {
        Opener { subscription, needs_idle: filter.needs().idle, previous_timeouts, sets_sysctls }
    }

    /// Turns on in `netns` what the stream lives on, where that was asked for.
    pub fn settings(&self, netns: &Netns) -> Result<Option<Settings>> {
        self.sets_sysctls.then(|| set_sysctls(netns)).transpose()
    }

    /// Subscribes in `netns`. Whatever is read of the table comes after that.
    pub fn open(&self, netns: &Netns, name: Option<String>) -> Result<Stream, Error> {
        let events = Events::subscribe(netns, &self.subscription)?;
        let mut connection = Connection::open(netns)?;
        let ages = if self.needs_idle {
            let (netfilter, kernel) = (Sysctl::default(), Sysctl::at(Sysctl::KERNEL));
            IdleEstimator::new(
                &TimeoutContext::read(&mut connection, &netfilter, &kernel, self.previous_timeouts.clone())?,
                0,
            )
        } else {
            IdleEstimator::without_timeouts(0)
        };
        // Without it, ports have no names.
        let requesters = ProcessByPortid::of(netns).ok();
        Ok(Stream::new(name, Box::new(events), connection, ages, requesters))
    }
}

fn set_sysctls(netns: &Netns) -> Result<Settings> {
    // A service's own folder, where it may write.
    let folder = env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    netns.run(|| {
        let note = event_sysctls::note(folder.as_deref()).context("find the number of the network namespace")?;
        event_sysctls::set(&Sysctl::default(), &note)
    })?
}

/// What words about one of several namespaces begin with.
fn prefix(name: Option<&str>) -> String {
    name.map(|name| format!("{name}: ")).unwrap_or_default()
}

/// Sets back what was set, and says so.
pub fn restore(console: &mut Console, name: Option<&str>, settings: Settings) {
    let place = prefix(name);
    for restored in settings.restore() {
        console.note(&format!("{place}{restored}"));
    }
}

/// Says how large the queue is and what clamps it, and what is missing by which setting.
pub fn tell_start(console: &mut Console, netns: &Netns, name: Option<&str>, buffer: Buffer) {
    let place = prefix(name);
    console.note(&format!("{place}{}", queue(buffer)));
    let deviations = netns.run(|| event_sysctls::deviations(&Sysctl::default()));
    match deviations.map_err(|error| anyhow!(error)).and_then(|deviations| deviations) {
        Ok(deviations) => deviations.iter().for_each(|deviation| console.note(&format!("{place}{deviation}"))),
        Err(error) => console.note(&format!("{place}cannot tell which settings are off: {error:#}")),
    }
}

/// Bytes of the kernel's count for an event.
const EVENT: usize = 1280;

fn queue(buffer: Buffer) -> String {
    let Buffer { asked, got, rmem_max, .. } = buffer;
    let (bytes, events) = (Bytes::from(got / 2), got / EVENT);
    if buffer.is_granted() {
        return format!("receive buffer: {bytes}, for {events} events");
    }
    let limit = rmem_max.map_or("a limit".into(), |max| format!("net.core.rmem_max, {max},"));
    format!(
        "receive buffer: {bytes}, for {events} events, instead of {}: {limit} clamps it, and only CAP_NET_ADMIN of the \
         host may go beyond (as root: sysctl -w net.core.rmem_max={asked})",
        Bytes::from(asked)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clamped_queue_names_the_limit_and_the_remedy() {
        let buffer = Buffer { asked: 8 << 20, got: 425_984, forced: false, rmem_max: Some(212_992) };
        let said = queue(buffer);
        assert!(
            said.contains("208 KiB, for 332 events, instead of 8192 KiB") || said.contains("instead of 8 MiB"),
            "{said}"
        );
        assert!(said.contains("net.core.rmem_max=8388608"), "{said}");
        let granted = queue(Buffer { got: 16 << 20, forced: true, ..buffer });
        assert_eq!(granted, "receive buffer: 8 MiB, for 13107 events");
    }
}
