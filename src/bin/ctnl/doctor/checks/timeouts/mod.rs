//! Timeouts that keep entries longer than needed, and those that end connections.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests;

use ctnl::model::{TIMERS, Timer, TimerRow};
use ctnl::units::Seconds;

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::Evidence;
use crate::doctor::finding::{Finding, Severity};
use crate::host::conntrack_sysctls::ConntrackSysctls;

pub const CHECK: Check = Check {
    name: "timeouts",
    about: "timeouts that are longer than needed, or so short that connections break",
    explanation: "\
Looks at the timeouts in /proc/sys/net/netfilter, how full the table is, and how many entries are in the state of each.

Long: an entry whose end the kernel does not see (a host that crashed, a phone that left the network) stays until its
timeout is over. For an established TCP connection the kernel's default is 5 days; 1 day is enough for most hosts, and
what sends TCP keepalives (every 2 h by default, where an application turns them on) refreshes it anyway. The closing
states need no more than the kernel's minutes. A longer one was set by somebody. Where the files of the host show which program
does so when it starts, it is named, with its own setting: kube-proxy raises CLOSE_WAIT to 1 h on purpose, and would raise it again.

Short: RFC 5382 wants an established connection to be kept for 2 h 4 min, so that keepalives come in time, and RFC 4787
a UDP stream for 2 min. A connection that is idle for longer breaks at a NAT or at a firewall that drops what it does
not know. Timeouts of a few seconds break connections while they are made.

warning: it is long, the table is at least half full, and a tenth of it is in that state; or it is so short that
connections break at once. note: otherwise.

A timeout holds for an entry from its next packet on: an idle entry keeps the long one. `ctnl update --cap-timeout` lowers
those, and a live connection's next packet restores its own.",
    run,
};

/// A table that is fuller than this part, in percent, has no space for entries of no use.
const FULL_PERCENT: u64 = 50;
/// A state with fewer of the entries, in percent, does not fill the table.
const SHARE_PERCENT: u64 = 10;
/// Shorter than a round trip with one retransmission.
const AT_ONCE: u64 = 5;
/// A longer timeout than this multiple of the kernel's default was raised, where no row below has its own limit.
const RAISED: u64 = 2;

/// A timeout with a limit of its own.
struct Row {
    timer: Timer,
    /// More is longer than needed.
    most: u64,
    /// What `ctnl tune set` is given instead.
    suggested: u64,
    /// Less breaks connections that are idle for a while.
    least: u64,
    /// Where that is from.
    source: &'static str,
}

const DAY: u64 = 86_400;

const ROWS: [Row; 2] = [
    Row {
        timer: Timer::TcpEstablished,
        most: DAY,
        suggested: DAY,
        least: 7_440,
        source: "RFC 5382 (REQ-5) wants 2h4m, longer than the interval of TCP keepalives",
    },
    Row {
        timer: Timer::UdpStream,
        // RFC 4787 (REQ-5) recommends 5 min.
        most: 300,
        suggested: 120,
        least: 120,
        source: "RFC 4787 (REQ-5) wants 2m",
    },
];

/// Timeouts with an option of their own in `ctnl tune set`, and the filter of their entries.
const NAMED: [(Timer, &str, &str); 9] = [
    (Timer::TcpEstablished, "--established-timeout ", "--state established"),
    (Timer::TcpCloseWait, "--close-wait-timeout ", "--state close_wait"),
    (Timer::TcpFinWait, "--fin-wait-timeout ", "--state fin_wait"),
    (Timer::TcpTimeWait, "--time-wait-timeout ", "--state time_wait"),
    (Timer::TcpSynSent, "--syn-sent-timeout ", "--state syn_sent"),
    (Timer::TcpSynRecv, "--syn-recv-timeout ", "--state syn_recv"),
    (Timer::Udp, "--udp-timeout ", "'udp and not assured'"),
    (Timer::UdpStream, "--udp-stream-timeout ", "'udp and assured'"),
    (Timer::Generic, "--generic-timeout ", ""),
];

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let sysctls = evidence.sysctls.as_ref().map_err(Clone::clone)?;
        let mut findings = Vec::new();
        let mut is_any_known = false;
        for row in &TIMERS {
            let Some(value) = row.sysctl.and_then(|name| sysctls.number(name)) else { continue };
            is_any_known = true;
            findings.extend(judge(evidence, sysctls, row, value));
        }
        if !is_any_known {
            return Err("no timeout can be read in /proc/sys/net/netfilter".to_owned());
        }
        Ok(findings)
    })
}

fn judge(evidence: &Evidence, sysctls: &ConntrackSysctls, timer: &TimerRow, value: u64) -> Option<Finding> {
    let default = u64::from(timer.default?);
    let row = ROWS.iter().find(|row| row.timer == timer.timer);
    let (most, suggested) = match (row, timer.timer) {
        (Some(row), _) => (row.most, row.suggested),
        // 5 days before Linux 5.11 (`sctp_timeouts` in net/netfilter/nf_conntrack_proto_sctp.c).
        (None, Timer::SctpEstablished) => return None,
        (None, _) => (default.saturating_mul(RAISED), default),
    };
    let finding = if value > most {
        long(evidence, sysctls, timer, value, suggested)
    } else if value < AT_ONCE && default > AT_ONCE {
        at_once(evidence, timer, value)
    } else {
        short(evidence, row.filter(|row| value < row.least)?, timer, value)
    };
    Some(finding.figure("timer", timer.name).figure("seconds", value).figure("default", default))
}

fn named(timer: &TimerRow, value: u64) -> String {
    let sysctl = timer.sysctl.unwrap_or_default();
    let default = Seconds(timer.default.unwrap_or_default().into());
    format!("{sysctl} is {value} ({}); the kernel's default is {default}", Seconds(value))
}

fn long(evidence: &Evidence, sysctls: &ConntrackSysctls, timer: &TimerRow, value: u64, suggested: u64) -> Finding {
    let shown = Seconds(value);
    let title = format!("the timeout {} is {shown}, longer than needed", timer.name);
    let consequence = format!("An entry whose connection has ended unseen stays for {shown} ({}).", timer.doc);
    let mut finding =
        Finding::new(severity(evidence, sysctls, timer), title, consequence).evidence(named(timer, value));
    if let Some((entries, all)) = entries_of(evidence, timer) {
        finding = finding.evidence(format!("{entries} of {all} entries have it")).figure("entries", entries);
    }
    finding = with_setting(finding, evidence, timer, value, suggested);
    let filter = NAMED.iter().find(|(named, ..)| *named == timer.timer).map_or("", |(_, _, filter)| filter);
    if filter.is_empty() {
        return finding;
    }
    finding.command(evidence.command(&format!("update {filter} --cap-timeout {} --dry-run", Seconds(suggested))))
}

/// With what sets the timeout: in the program that raises it, where there is one, since that does so whenever it starts.
fn with_setting(finding: Finding, evidence: &Evidence, timer: &TimerRow, value: u64, suggested: u64) -> Finding {
    let command = evidence.tune_set(&setting(timer, suggested));
    let boot = &evidence.boot;
    let sysctl = format!("net.netfilter.{}", timer.sysctl.unwrap_or_default());
    // The programs of the host write the settings of its first namespace.
    let writer = boot.boot.writers_of(&sysctl).find(|writer| boot.is_first_netns && writer.undoes(suggested));
    let Some(writer) = writer else { return finding.command(command) };
    let finding = finding.evidence(writer.describe()).figure("program", writer.name.as_str());
    let finding = match kube_proxy_options(timer.timer).filter(|_| writer.name == "kube-proxy") {
        Some((key, option)) => finding.text(format!(
            "in the configuration of kube-proxy: conntrack.{key}: {suggested}s (on its command line: --{option}={suggested}s), \
             then restart it; 0s leaves the setting to the host"
        )),
        None => finding.text(format!("change {}:{}", writer.assignment.file, writer.assignment.line)),
    };
    // What the program has set itself, it sets again.
    if writer.assignment.number() == Some(value) { finding } else { finding.command(command) }
}

/// The settings of kube-proxy: in its configuration, and on its command line.
fn kube_proxy_options(timer: Timer) -> Option<(&'static str, &'static str)> {
    match timer {
        Timer::TcpEstablished => Some(("tcpEstablishedTimeout", "conntrack-tcp-timeout-established")),
        Timer::TcpCloseWait => Some(("tcpCloseWaitTimeout", "conntrack-tcp-timeout-close-wait")),
        _ => None,
    }
}

fn setting(timer: &TimerRow, value: u64) -> String {
    let value = Seconds(value);
    match NAMED.iter().find(|(named, ..)| *named == timer.timer) {
        Some((_, option, _)) => format!("{option}{value}"),
        None => format!("--timeout {}={value}", timer.name),
    }
}

/// A long timeout is harmless where there is space, or where few entries have it.
fn severity(evidence: &Evidence, sysctls: &ConntrackSysctls, timer: &TimerRow) -> Severity {
    let (max, count) = (sysctls.number("nf_conntrack_max"), sysctls.number("nf_conntrack_count"));
    let is_full = max.zip(count).is_some_and(|(max, count)| max > 0 && count.saturating_mul(100) / max >= FULL_PERCENT);
    let is_part = entries_of(evidence, timer)
        .is_none_or(|(entries, all)| entries.saturating_mul(100) >= all.saturating_mul(SHARE_PERCENT));
    if is_full && is_part { Severity::Warning } else { Severity::Note }
}

/// The entries in the state of the timer, and all of them; `None` where that was not counted.
fn entries_of(evidence: &Evidence, timer: &TimerRow) -> Option<(u64, u64)> {
    let survey = evidence.survey.as_ref().ok()?;
    let name = survey_name(timer.timer)?;
    let rows = survey.states.rows();
    let entries = rows.iter().find(|(state, _)| state.to_string() == name).map_or(0, |(_, row)| row.entries);
    (survey.entries > 0).then_some((entries, survey.entries))
}

/// The state as the survey has it, where one timeout holds for it.
fn survey_name(timer: Timer) -> Option<&'static str> {
    Some(match timer {
        Timer::TcpEstablished => "tcp ESTABLISHED",
        Timer::TcpCloseWait => "tcp CLOSE_WAIT",
        Timer::TcpFinWait => "tcp FIN_WAIT",
        Timer::TcpLastAck => "tcp LAST_ACK",
        Timer::TcpTimeWait => "tcp TIME_WAIT",
        Timer::TcpClose => "tcp CLOSE",
        Timer::TcpSynSent => "tcp SYN_SENT",
        Timer::TcpSynRecv => "tcp SYN_RECV",
        _ => return None,
    })
}

fn short(evidence: &Evidence, row: &Row, timer: &TimerRow, value: u64) -> Finding {
    let title = format!("the timeout {} is {}: longer pauses break connections", timer.name, Seconds(value));
    let consequence = "A connection that is idle for longer loses its entry: behind NAT, or with a firewall that drops \
                       unknown packets, it hangs.";
    Finding::new(Severity::Note, title, consequence)
        .evidence(named(timer, value))
        .evidence(row.source)
        .command(evidence.tune_set(&setting(timer, row.suggested)))
}

fn at_once(evidence: &Evidence, timer: &TimerRow, value: u64) -> Finding {
    let title = format!("the timeout {} is {}: entries are gone before the answer", timer.name, Seconds(value));
    let consequence =
        "Packets of a live connection find no entry: rules for established connections and NAT do not match.";
    let default = timer.default.unwrap_or_default().into();
    Finding::new(Severity::Warning, title, consequence)
        .evidence(named(timer, value))
        .command(evidence.tune_set(&setting(timer, default)))
}
