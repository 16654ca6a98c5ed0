//! Members of a JSON line that several kinds of records have.

use super::duration::DurationNanos;
use super::record::{ClockSource, Requester, StartTime, SyntheticCause};
use crate::output::cursor::Line;
use crate::output::json::{boolean, number, number64, plain_string, put_string};
use crate::units::Nanos;

#[inline(always)]
pub(super) fn put_time(line: &mut Line<'_>, ns: u64) {
    line.put(b",\"time_ns\":");
    line.decimal64(ns);
}

#[inline(always)]
pub(super) fn put_clock(line: &mut Line<'_>, clock: ClockSource) {
    match clock {
        ClockSource::Kernel => line.put(b",\"clock\":\"kernel\""),
        ClockSource::Received => line.put(b",\"clock\":\"received\""),
    }
}

#[inline(always)]
pub(super) fn put_synthetic(line: &mut Line<'_>, synthetic: Option<SyntheticCause>) {
    plain_string(line, b",\"synthetic\":\"", synthetic.map(SyntheticCause::name));
}

#[inline(always)]
pub(super) fn put_context(
    line: &mut Line<'_>,
    out: &mut Vec<u8>,
    netns: Option<&str>,
    killed: Option<bool>,
    requester: Option<Requester<'_>>,
) {
    put_netns(line, out, netns);
    if let Some(killed) = killed {
        line.put(b",\"killed\":");
        boolean(line, killed);
    }
    if let Some(requester) = requester {
        line.out_of_line(|line| put_requester(line, out, requester));
    }
}

#[inline(never)]
fn put_requester(line: &mut Line<'_>, out: &mut Vec<u8>, requester: Requester<'_>) {
    number(line, b",\"requester\":{\"port\":", Some(requester.port));
    if let Some(process) = requester.process {
        put_string(line, out, b",\"process\":", process);
        if !requester.is_certain {
            line.put(b",\"guess\":true");
        }
    }
    line.put(b"}");
}

#[inline(always)]
pub(super) fn put_start(line: &mut Line<'_>, start: StartTime, duration: Option<DurationNanos>) {
    match start {
        StartTime::Exact(ns) => {
            number64(line, b",\"since_ns\":", Some(ns));
            line.put(b",\"since_clock\":\"kernel\",\"since\":\"exactly\"");
        }
        StartTime::After(ns) => {
            number64(line, b",\"since_ns\":", Some(ns));
            line.put(b",\"since_clock\":\"received\",\"since\":\"after\"");
        }
        StartTime::Before(ns) => {
            number64(line, b",\"since_ns\":", Some(ns));
            line.put(b",\"since_clock\":\"received\",\"since\":\"before\"");
        }
    }
    match duration {
        Some(DurationNanos::Exact(Nanos(ns))) => number64(line, b",\"duration_ns\":", Some(ns)),
        Some(DurationNanos::AtLeast(Nanos(ns))) => number64(line, b",\"duration_at_least_ns\":", Some(ns)),
        Some(DurationNanos::AtMost(Nanos(ns))) => number64(line, b",\"duration_at_most_ns\":", Some(ns)),
        None => {}
    }
}

#[inline(always)]
pub(super) fn put_netns(line: &mut Line<'_>, out: &mut Vec<u8>, netns: Option<&str>) {
    if let Some(netns) = netns {
        line.out_of_line(|line| put_string(line, out, b",\"netns\":", netns));
    }
}
