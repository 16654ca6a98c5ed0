//! `--existing`: lower the timeouts of entries that are there to the new ones, as `ctnl update --cap-timeout` does.
//!
//! The kernel does not: an entry keeps the timeout that its last packet set.

use anyhow::{Result, anyhow};
use ctnl::model::Timer;
use serde_json::{Value, json};

use super::super::args::{CommonArgs, FilterArgs};
use super::super::purging::{self, Request};
use super::target::Target;
use crate::purge::{Purged, Summary, Task};
use crate::term::console::Console;
use crate::term::interrupt::Interrupt;
use crate::tune::Lowered;

/// The entries whose timeout a setting is: a filter expression. `None` where the kernel sets it at the creation of an
/// entry for its life (GRE), or a dump does not show which it was.
fn filter_of(timer: Timer) -> Option<&'static str> {
    Some(match timer {
        Timer::TcpSynSent => "tcp and state syn_sent",
        Timer::TcpSynRecv => "tcp and state syn_recv",
        Timer::TcpEstablished => "tcp and state established",
        Timer::TcpFinWait => "tcp and state fin_wait",
        Timer::TcpCloseWait => "tcp and state close_wait",
        Timer::TcpLastAck => "tcp and state last_ack",
        Timer::TcpTimeWait => "tcp and state time_wait",
        Timer::TcpClose => "tcp and state close",
        // UDP-lite has the timeouts of UDP.
        Timer::Udp => "proto {17, 136} and not assured",
        Timer::UdpStream => "proto {17, 136} and assured",
        Timer::Icmp => "proto 1",
        Timer::Icmpv6 => "proto 58",
        Timer::SctpEstablished => "proto 132 and state established",
        Timer::Generic => "not proto {1, 6, 17, 33, 47, 58, 132, 136}",
        _ => return None,
    })
}

/// What became of the entries of one timeout.
#[derive(Debug)]
pub struct Capped {
    timeout: &'static str,
    seconds: u64,
    summary: Option<Box<Summary>>,
    error: Option<String>,
}

impl Capped {
    /// It in one line.
    pub fn text(&self) -> String {
        let Capped { timeout, seconds, .. } = self;
        match (&self.summary, &self.error) {
            (_, Some(error)) => format!("existing entries of {timeout}: {error}"),
            (Some(summary), None) => {
                let verb = if summary.dry_run { "would be lowered" } else { "lowered" };
                let lowered = summary.updated.unwrap_or(summary.deleted);
                format!("existing entries of {timeout}: {lowered} of {} {verb} to {seconds} s", summary.matched)
            }
            (None, None) => format!("existing entries of {timeout}: nothing was done"),
        }
    }

    /// Whether a part of it failed.
    pub fn is_partial(&self) -> bool {
        self.error.is_some() || self.summary.as_ref().is_none_or(|summary| summary.is_partial())
    }

    /// The part of the entries that it lowers: lowered, and all of the table.
    pub fn share(&self) -> (u64, u64) {
        let summary = self.summary.as_ref();
        summary.map_or((0, 0), |summary| (summary.updated.unwrap_or(summary.deleted), summary.seen))
    }

    /// It for the log.
    pub fn to_record(&self) -> Lowered {
        let summary = self.summary.as_ref();
        Lowered {
            timeout: self.timeout.to_owned(),
            seconds: self.seconds,
            lowered: summary.map(|summary| summary.updated.unwrap_or(summary.deleted)),
            matched: summary.map(|summary| summary.matched),
            error: self.error.clone().or_else(|| self.is_partial().then(|| self.text())),
        }
    }

    /// It as JSON.
    pub fn json(&self) -> Value {
        json!({"timeout": self.timeout, "seconds": self.seconds, "summary": self.summary, "error": self.error})
    }
}

/// Lowers the timeouts of existing entries to `values`, or counts them.
pub fn cap(
    values: &[(String, u64)],
    target: &Target,
    common: &CommonArgs,
    dry_run: bool,
    interrupt: &Interrupt,
    console: &mut Console,
) -> Vec<Capped> {
    let capped = timers(values, target.is_live()).map(|(timer, seconds)| {
        let purged = cap_one(timer, seconds, target, common, dry_run, interrupt, console);
        let (summary, error) = match purged {
            Ok(summary) => (Some(summary), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Capped { timeout: timer.name(), seconds, summary, error }
    });
    capped.collect()
}

/// The timeouts to which entries are lowered. A tree has no entries: those of this host are not its own. A timeout of 0, which
/// no `ctnl tune set` accepts, would end them.
fn timers(values: &[(String, u64)], is_live: bool) -> impl Iterator<Item = (Timer, u64)> {
    let values = values.iter().filter(move |(_, seconds)| is_live && *seconds > 0);
    values.filter_map(|(name, seconds)| Some((Timer::from_name(name)?, *seconds)))
}

fn cap_one(
    timer: Timer,
    seconds: u64,
    target: &Target,
    common: &CommonArgs,
    dry_run: bool,
    interrupt: &Interrupt,
    console: &mut Console,
) -> Result<Box<Summary>> {
    let expression = filter_of(timer)
        .ok_or_else(|| anyhow!("a dump does not show which entries have this timeout: they are left as they are"))?;
    let filter = FilterArgs::of_expression(expression);
    let request = Request {
        command: "tune",
        task: Task::CapTimeout(u32::try_from(seconds).unwrap_or(u32::MAX)),
        filter: &filter,
        all: false,
        dry_run,
        max: None,
        save: None,
        no_spare_ssh: false,
        // The question was for all of it, with these counts.
        yes: true,
        ask_above: 100,
        json: false,
        fail_if_none: false,
        common,
    };
    let host = &target.host;
    match purging::purge(&request, filter.filter(host)?, &target.netns, host, interrupt, console)? {
        Purged::Ran(summary) => Ok(summary),
        Purged::Declined | Purged::Interrupted | Purged::Stopped { .. } => Err(anyhow!("interrupted")),
    }
}

/// The timeouts among the settings that `--existing` lowers: names and seconds.
pub fn timeouts(values: &[(crate::tune::Setting, u64)]) -> Vec<(String, u64)> {
    let timeouts = values.iter().filter(|(setting, _)| matches!(setting, crate::tune::Setting::Timeout(_)));
    timeouts.map(|(setting, seconds)| (setting.name().to_owned(), *seconds)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::host::Host;
    use ctnl::model::TIMERS;

    use super::*;

    #[test]
    fn a_log_of_a_tree_lowers_no_entries_of_this_host_and_no_log_ends_entries() {
        let values = [(Timer::Udp.name().to_owned(), 20), (Timer::Icmp.name().to_owned(), 0)];
        assert_eq!(timers(&values, true).collect::<Vec<_>>(), [(Timer::Udp, 20)]);
        assert_eq!(timers(&values, false).count(), 0);
    }

    #[test]
    fn every_filter_is_parsed_and_no_two_match_the_same_entries_by_accident() {
        let host = Host::at("/nonexistent", ctnl::clock::Clock::system());
        let expressions: Vec<_> = TIMERS.iter().filter_map(|row| filter_of(row.timer)).collect();
        for expression in &expressions {
            let filter = FilterArgs::of_expression(expression).filter(&host).unwrap();
            assert!(!filter.matches_everything() && !filter.never_matches(), "{expression}");
        }
        let unique: std::collections::BTreeSet<_> = expressions.iter().collect();
        assert_eq!(unique.len(), expressions.len());
    }
}
