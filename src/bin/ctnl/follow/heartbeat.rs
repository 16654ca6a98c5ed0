//! The heartbeat record: when it is due, and what it has beside the statistics.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ctnl::output::{SinkState, SysctlGroup, WaitingLine};
use ctnl::sysctl::Setting;

use super::event_sysctl::ReportedSysctls;
use super::namespace::NamespaceStream;

/// The names of namespaces in one record, at most: its length has a limit whatever their number.
const MAX_NAMES: usize = 16;
/// The heartbeats whose number and time are remembered, at most.
const MAX_MARKS: usize = 1024;

/// The state of the heartbeat.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Option<Duration>,
    /// When the last one was due, and the events received until it was written.
    last: Duration,
    received: u64,
    /// The sysctls as they were read last.
    sysctls: Vec<SysctlGroup>,
    /// Number and time of earlier heartbeats: they date the lines between them.
    marks: VecDeque<Mark>,
}

/// The line with the number `seq` was written at `time`, in ns of `CLOCK_REALTIME`.
#[derive(Debug, Clone, Copy)]
struct Mark {
    seq: u64,
    time: u64,
}

impl Heartbeat {
    /// A heartbeat at each `interval` after `now`.
    pub(super) fn new(interval: Option<Duration>, now: Duration) -> Self {
        Heartbeat { interval, last: now, received: 0, sysctls: Vec::new(), marks: VecDeque::new() }
    }

    /// When the next one is due.
    pub(super) fn at(&self) -> Option<Duration> {
        self.interval.map(|interval| self.last.saturating_add(interval))
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.at().is_some_and(|at| at <= now)
    }

    /// The start of the interval, and the events received until then.
    pub(super) fn last(&self) -> (Duration, u64) {
        (self.last, self.received)
    }

    /// The sysctls as they were read last.
    pub(super) fn sysctls(&self) -> &[SysctlGroup] {
        &self.sysctls
    }

    /// Sets when the oldest line of a sink was written, as far as that is known of the lines of `stream`.
    pub(super) fn date(&self, sink: &mut SinkState, of: &str) {
        if let Some(WaitingLine { stream, seq, written_after }) = &mut sink.oldest
            && *stream == of
        {
            *written_after = self.written_after(*seq);
        }
    }

    /// The line `seq` is one, written at `time`, when so many events had been received.
    pub(super) fn on_written(&mut self, seq: u64, time: u64, received: u64, now: Duration) {
        self.mark(Mark { seq, time });
        self.received = received;
        self.interval.into_iter().for_each(|interval| self.advance(interval, now));
    }

    /// One is written. Those that could not be written in time are left out.
    fn advance(&mut self, interval: Duration, now: Duration) {
        let next = self.last.saturating_add(interval);
        self.last = if now < next.saturating_add(interval) { next } else { now };
    }

    /// Reads the sysctls of the namespaces.
    pub(super) fn sample_sysctls<'a>(&mut self, streams: impl Iterator<Item = &'a NamespaceStream>) {
        if self.interval.is_none() {
            return;
        }
        let read = |setting: &Option<Setting>| setting.as_ref().and_then(|setting| setting.read().ok());
        self.sysctls = group(streams.map(|stream| {
            let ReportedSysctls { acct, timestamp } = &stream.reported_sysctls;
            ([stream.sysctl.value(), read(acct), read(timestamp)], stream.name.as_deref())
        }));
    }

    fn mark(&mut self, mark: Mark) {
        if self.marks.len() >= MAX_MARKS {
            // Every other one: the older lines are, the more coarsely they are dated.
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.marks.push_back(mark);
    }

    /// The time of the last line that is dated and precedes the one with the number `seq`.
    fn written_after(&self, seq: u64) -> Option<u64> {
        let later = self.marks.partition_point(|mark| mark.seq < seq);
        self.marks.get(later.checked_sub(1)?).map(|mark| mark.time)
    }
}

/// The namespaces by their values: those that cannot be read and those with 0 first, and their names are
/// not left out.
fn group<'s>(sysctls: impl Iterator<Item = ([Option<u64>; 3], Option<&'s str>)>) -> Vec<SysctlGroup> {
    let mut groups = BTreeMap::<[Option<u64>; 3], SysctlGroup>::new();
    for (values @ [events, acct, timestamp], name) in sysctls {
        let new = || SysctlGroup { events, acct, timestamp, ..SysctlGroup::default() };
        let group = groups.entry(values).or_insert_with(new);
        group.namespaces += 1;
        if group.netns.len() < MAX_NAMES {
            group.netns.extend(name.map(str::to_owned));
        }
    }
    let (mut groups, mut left) = (groups.into_values().collect::<Vec<_>>(), MAX_NAMES);
    for group in &mut groups {
        group.netns.truncate(left);
        left -= group.netns.len();
    }
    groups
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn heartbeats_keep_their_rhythm_and_missed_ones_are_not_made_up_for() {
        let mut heartbeat = Heartbeat::new(Some(MINUTE), Duration::ZERO);
        for (now, next) in [(60, 120), (121, 180), (179, 240), (500, 560)] {
            heartbeat.advance(MINUTE, Duration::from_secs(now));
            assert_eq!(heartbeat.at(), Some(Duration::from_secs(next)));
        }
        assert_eq!(Heartbeat::new(None, Duration::ZERO).at(), None);
    }

    #[test]
    fn a_line_is_dated_by_the_heartbeat_before_it_in_constant_memory() {
        let mut heartbeat = Heartbeat::new(Some(MINUTE), Duration::ZERO);
        (1..=100_000).for_each(|n| heartbeat.mark(Mark { seq: 10 * n, time: n }));
        assert!(heartbeat.marks.len() <= MAX_MARKS);
        assert_eq!(heartbeat.written_after(5), None);
        assert_eq!(heartbeat.written_after(1_000_000), Some(99_999));
        assert_eq!(heartbeat.written_after(1_000_001), Some(100_000));
        let old = heartbeat.written_after(100_001).unwrap();
        assert!((1..=10_000).contains(&old), "{old}");
    }

    #[test]
    fn namespaces_with_the_same_sysctls_are_one_group_and_the_names_of_the_deviating_ones_come_first() {
        let names: Vec<String> = (0..300).map(|n| format!("n{n}")).collect();
        let sysctls = names.iter().enumerate().map(|(index, name)| {
            let events = if index == 299 { Some(0) } else { Some(1) };
            ([events, Some(1), None], Some(&**name))
        });
        let groups = group(sysctls);
        let counts: Vec<_> = groups.iter().map(|group| (group.events, group.namespaces, group.netns.len())).collect();
        assert_eq!(counts, [(Some(0), 1, 1), (Some(1), 299, MAX_NAMES - 1)]);
        assert_eq!(groups[0].netns, ["n299"]);
        let alone = group(std::iter::once(([None, Some(1), Some(0)], None)));
        assert_eq!((alone[0].namespaces, alone[0].netns.len(), alone[0].events), (1, 0, None));
    }
}
