//! Messages at the start and at the end of a stream.

use anyhow::{Result, anyhow};
use ctnl::host::Host;
use ctnl::netlink::Netns;
use ctnl::table::Buffer;
use ctnl::units::Bytes;

use crate::follow::StreamEnd;
use crate::host::event_sysctls::{self, Deviation};
use crate::host::procfs;
use crate::term::console::Console;

/// Bytes of the queue's limit that an event occupies (`truesize` of its `sk_buff`).
const EVENT: usize = 1280;

pub(super) const WITHOUT_SYSCTLS: &str = "cannot read net.netfilter.nf_conntrack_events, nf_conntrack_acct and \
                               nf_conntrack_timestamp, since /proc/sys is missing: if they are 0, there are no \
                               events, counters, times of the kernel";

/// The prefix of a message about one namespace of several.
pub fn prefix(netns: Option<&str>) -> String {
    netns.map(|netns| format!("{netns}: ")).unwrap_or_default()
}

/// Reports the size of the queue and its limit, and the sysctls that are off.
pub fn start(console: &mut Console, host: &Host, netns: &Netns, buffer: Buffer) {
    let rmem_max = host.core().read("rmem_max").ok();
    console.note(&describe_buffer(buffer, rmem_max));
    if !procfs::has_sysctls(host) {
        return console.note(WITHOUT_SYSCTLS);
    }
    match deviations(host, netns) {
        Ok(deviations) => {
            let is_own = matches!(netns, Netns::Current);
            deviations.iter().for_each(|deviation| console.note(&describe(deviation, is_own)));
        }
        Err(error) => console.note(&format!("cannot read the sysctls of conntrack: {error:#}")),
    }
}

pub(super) fn deviations(host: &Host, netns: &Netns) -> Result<Vec<Deviation>> {
    netns.run(|| event_sysctls::deviations(&host.netfilter())).map_err(|error| anyhow!(error))?
}

/// The deviation and what sets it. systemd-sysctl(8) applies /etc/sysctl.d in its own namespace
/// alone.
fn describe(deviation: &Deviation, is_own: bool) -> String {
    match deviation.line() {
        Some(line) if is_own => format!("{deviation}\n  hint: a line for /etc/sysctl.d: {line}"),
        Some(line) => format!("{deviation}\n  hint: in that namespace: sysctl -w {}", line.replace(' ', "")),
        None => deviation.to_string(),
    }
}

pub(super) fn describe_buffer(buffer: Buffer, rmem_max: Option<u64>) -> String {
    let Buffer { requested, capacity, .. } = buffer;
    let (bytes, events) = (Bytes::from(capacity / 2), capacity / EVENT);
    if buffer.is_granted() {
        return format!("receive buffer: {bytes}, {events} events");
    }
    let limit = rmem_max.map_or("net.core.rmem_max".into(), |max| format!("net.core.rmem_max = {max}"));
    format!(
        "receive buffer: {bytes}, {events} events, instead of {}: limited by {limit}\n  hint: run it with CAP_NET_ADMIN \
         of the host, or as root of the host: sysctl -w net.core.rmem_max={requested}",
        Bytes::from(requested)
    )
}

/// Reports the end of a stream and its sums.
pub fn end(console: &mut Console, end: &StreamEnd) {
    console.note(&describe_end(end));
    let totals = &end.totals;
    if totals.unreadable > 0 {
        console.warn(&format!("{} events could not be decoded: a newer kernel, or a fault of ctnl", totals.unreadable));
    }
    if totals.uncounted_losses > 0 {
        console.warn(&format!("{} times an unknown number of events was lost in the kernel", totals.uncounted_losses));
    }
}

fn describe_end(end: &StreamEnd) -> String {
    let StreamEnd { reason, totals, records } = end;
    let lost = match (totals.lost, totals.uncounted_losses) {
        (lost, 0) => lost.to_string(),
        (0, _) => "an unknown number".to_owned(),
        (lost, _) => format!("at least {lost}"),
    };
    format!("{reason}: {} events received, {lost} lost, {records} records written", totals.received)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::clock::Clock;

    use super::*;
    use crate::follow::Totals;

    #[test]
    fn a_limited_buffer_is_reported_with_the_limit_and_the_remedy() {
        let buffer = Buffer { requested: 8 << 20, capacity: 425_984, forced: false };
        assert_eq!(
            describe_buffer(buffer, Some(212_992)),
            "receive buffer: 208 KiB, 332 events, instead of 8 MiB: limited by net.core.rmem_max = 212992\n  hint: run \
             it with CAP_NET_ADMIN of the host, or as root of the host: sysctl -w net.core.rmem_max=8388608"
        );
        let granted = Buffer { capacity: 16 << 20, forced: true, ..buffer };
        assert_eq!(describe_buffer(granted, None), "receive buffer: 8 MiB, 13107 events");
    }

    #[test]
    fn a_sysctl_that_is_off_is_reported_with_the_line_for_sysctl_d_or_the_command_for_another_namespace() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path(), Clock::system());
        std::fs::create_dir_all(host.netfilter().root()).unwrap();
        for (name, value) in [("events", 1), ("timestamp", 1), ("acct", 0)] {
            let file = host.netfilter().root().join(format!("nf_conntrack_{name}"));
            std::fs::write(file, format!("{value}\n")).unwrap();
        }
        let found = deviations(&host, &Netns::Current).unwrap();
        let described = [true, false].map(|is_own| found.iter().map(|d| describe(d, is_own)).collect::<Vec<_>>());
        let off = "net.netfilter.nf_conntrack_acct is 0: new entries have no packet and byte counters";
        assert_eq!(
            described[0],
            [format!("{off}\n  hint: a line for /etc/sysctl.d: net.netfilter.nf_conntrack_acct = 1")]
        );
        let command = "sysctl -w net.netfilter.nf_conntrack_acct=1";
        assert_eq!(described[1], [format!("{off}\n  hint: in that namespace: {command}")]);
    }

    #[test]
    fn an_unknown_number_of_lost_events_is_not_reported_as_none() {
        let describe = |lost, uncounted_losses| {
            let totals = Totals { received: 7, lost, uncounted_losses, ..Totals::default() };
            describe_end(&StreamEnd { reason: "SIGTERM", totals, records: 9 })
        };
        assert_eq!(describe(0, 0), "SIGTERM: 7 events received, 0 lost, 9 records written");
        assert_eq!(describe(0, 1), "SIGTERM: 7 events received, an unknown number lost, 9 records written");
        assert_eq!(describe(3, 1), "SIGTERM: 7 events received, at least 3 lost, 9 records written");
    }
}
