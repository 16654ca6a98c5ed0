//! How often the messages of one source came, and when: constant memory, whatever a file holds.

use std::collections::BTreeMap;

use ctnl::units::Nanos;

use super::message::{Notice, notice};

/// Most namespaces that are counted each; the messages of all others are counted as without one.
const MAX_NAMESPACES: usize = 64;
/// Most bytes of a message that are kept.
const MAX_SAMPLE: usize = 200;
/// A count of messages that the rate limit left out belongs to a message no further away than this: twice the
/// interval of the rate limit of network messages (`net_ratelimit_state` in net/core/utils.c).
const NEAR: Nanos = Nanos(10 * Nanos::PER_SECOND);
/// The messages of this time before the reading are counted apart.
const LATELY: Nanos = Nanos(3600 * Nanos::PER_SECOND);

/// A message of the kernel in a source.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Since 1970, where the source has it.
    pub time: Option<Nanos>,
    /// The host that wrote it, where the source has it.
    pub host: Option<&'a [u8]>,
    /// How often it came: more than once where the syslog daemon writes that.
    pub times: u64,
    /// The message.
    pub message: &'a [u8],
}

/// How often a message came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occurrences {
    /// So many are in the source.
    pub count: u64,
    /// Of those, within [`LATELY`].
    pub lately: u64,
    /// So many network messages were left out by the rate limit beside these: of this kind, or of another.
    pub suppressed: u64,
    /// The first with a time, since 1970.
    pub first: Option<Nanos>,
    /// The last with a time, since 1970.
    pub last: Option<Nanos>,
    /// The last message, as it is written.
    pub sample: String,
}

impl Occurrences {
    fn add(&mut self, entry: &Entry<'_>, now: Nanos) {
        self.count = self.count.saturating_add(entry.times);
        if entry.time.is_some_and(|time| now.since(time) <= LATELY) {
            self.lately = self.lately.saturating_add(entry.times);
        }
        if self.sample.is_empty() || entry.time >= self.last {
            let message = entry.message.get(..MAX_SAMPLE).unwrap_or(entry.message);
            self.sample = String::from_utf8_lossy(message.trim_ascii()).into_owned();
        }
        self.first = self.first.into_iter().chain(entry.time).min();
        self.last = self.last.max(entry.time);
    }

    /// Adds the occurrences of another file of the same source.
    fn merge(&mut self, other: Occurrences) {
        if self.sample.is_empty() || other.last > self.last {
            self.sample = other.sample;
        }
        self.count = self.count.saturating_add(other.count);
        self.lately = self.lately.saturating_add(other.lately);
        self.suppressed = self.suppressed.saturating_add(other.suppressed);
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.max(other.last);
    }
}

/// What a source has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    /// Packets dropped for a full table, by the inode number of the namespace; `None` where it is not written.
    pub full: BTreeMap<Option<u64>, Occurrences>,
    /// Expected connections that were not recorded.
    pub expectations: Occurrences,
    /// Messages of a full table that other hosts sent to this one's syslog daemon.
    pub other_hosts: u64,
}

impl Notices {
    fn full(&mut self, netns: Option<u64>) -> &mut Occurrences {
        let has_space = self.full.len() < MAX_NAMESPACES || self.full.contains_key(&netns);
        self.full.entry(netns.filter(|_| has_space)).or_default()
    }

    /// Adds what another file of the same source has.
    pub fn merge(&mut self, other: Notices) {
        for (netns, occurrences) in other.full {
            self.full(netns).merge(occurrences);
        }
        self.expectations.merge(other.expectations);
        self.other_hosts = self.other_hosts.saturating_add(other.other_hosts);
    }
}

/// Which occurrences the last message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Full { netns: Option<u64>, time: Option<Nanos> },
    Expectations,
    Other,
}

/// Counts the messages of one source, in its order or from its end.
#[derive(Debug)]
pub struct Tally {
    now: Nanos,
    own_host: Option<Vec<u8>>,
    notices: Notices,
    last: Last,
    /// The last message of a full table, and messages that were left out since then or before the next one.
    near: Option<(Option<u64>, Option<Nanos>)>,
    pending: Option<(u64, Option<Nanos>)>,
}

impl Tally {
    /// Nothing is counted yet. `now` is the time of the reading since 1970; `own_host` the name of this host, where it
    /// is known.
    pub fn new(now: Nanos, own_host: Option<&str>) -> Self {
        let own_host = own_host.map(|name| short(name.as_bytes()).to_ascii_lowercase());
        Tally { now, own_host, notices: Notices::default(), last: Last::Other, near: None, pending: None }
    }

    /// Counts a message.
    pub fn add(&mut self, entry: &Entry<'_>) {
        let found = notice(entry.message);
        if matches!(found, Some(Notice::TableFull { .. })) && !self.is_own(entry) {
            self.notices.other_hosts = self.notices.other_hosts.saturating_add(entry.times);
            self.last = Last::Other;
            return;
        }
        match found {
            Some(Notice::TableFull { netns }) => self.add_full(entry, netns),
            Some(Notice::ExpectationsFull) => {
                self.notices.expectations.add(entry, self.now);
                self.last = Last::Expectations;
            }
            Some(Notice::Suppressed(count)) => self.add_suppressed(entry, count),
            Some(Notice::Repeated(count)) => self.add_repeated(entry, count),
            None => self.last = Last::Other,
        }
    }

    fn add_full(&mut self, entry: &Entry<'_>, netns: Option<u64>) {
        let full = self.notices.full(netns);
        full.add(entry, self.now);
        if let Some((count, time)) = self.pending.take()
            && is_near(time, entry.time)
        {
            full.suppressed = full.suppressed.saturating_add(count);
        }
        self.near = Some((netns, entry.time));
        self.last = Last::Full { netns, time: entry.time };
    }

    /// The count belongs to the message of a full table before it, or else to the one behind it: the rate limit is
    /// shared by all messages of the network.
    fn add_suppressed(&mut self, entry: &Entry<'_>, count: u64) {
        self.last = Last::Other;
        if !self.is_own(entry) {
            return;
        }
        match self.near {
            Some((netns, time)) if is_near(time, entry.time) => {
                let full = self.notices.full(netns);
                full.suppressed = full.suppressed.saturating_add(count);
            }
            _ => self.pending = Some((count, entry.time)),
        }
    }

    fn add_repeated(&mut self, entry: &Entry<'_>, count: u64) {
        let again = |message: &str| (message.to_owned(), entry.time);
        match self.last {
            Last::Full { netns, time } => {
                let full = self.notices.full(netns);
                let (sample, now) = again(&full.sample);
                full.add(&Entry { time: now.or(time), times: count, message: sample.as_bytes(), ..*entry }, self.now);
            }
            Last::Expectations => {
                let (sample, time) = again(&self.notices.expectations.sample);
                let entry = Entry { time, times: count, message: sample.as_bytes(), ..*entry };
                self.notices.expectations.add(&entry, self.now);
            }
            Last::Other => {}
        }
    }

    /// `localhost` is a host that had no name yet.
    fn is_own(&self, entry: &Entry<'_>) -> bool {
        let (Some(own), Some(host)) = (&self.own_host, entry.host) else { return true };
        let host = short(host).to_ascii_lowercase();
        host == *own || host == b"localhost" || host == b"(none)"
    }

    /// A line that is no message of interest was read: a repetition behind it is not one of ours.
    pub fn add_other_line(&mut self) {
        self.last = Last::Other;
    }

    /// What was counted.
    pub fn finish(self) -> Notices {
        self.notices
    }
}

/// A name without its domain, and without the relay that syslog-ng writes with it.
fn short(name: &[u8]) -> &[u8] {
    let name = name.rsplit(|byte| matches!(byte, b'/' | b'@')).next().unwrap_or(name);
    name.split(|byte| *byte == b'.').next().unwrap_or(name)
}

/// Whether two messages are near each other in time; they are where a time is unknown.
fn is_near(one: Option<Nanos>, other: Option<Nanos>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one.since(other).max(other.since(one)) <= NEAR)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const FULL: &str = "nf_conntrack: table full, dropping packet";

    fn seconds(seconds: u64) -> Nanos {
        Nanos(seconds * Nanos::PER_SECOND)
    }

    fn tally(entries: &[(u64, &str)]) -> Notices {
        let mut tally = Tally::new(seconds(10_000), Some("gate"));
        for (time, message) in entries {
            let time = Some(seconds(*time));
            tally.add(&Entry { time, host: Some(b"gate"), times: 1, message: message.as_bytes() });
        }
        tally.finish()
    }

    #[test]
    fn first_last_and_count_do_not_depend_on_the_order() {
        let mut entries = [(100, FULL), (8000, "nf_conntrack: nf_conntrack: table full, dropping packet"), (300, FULL)];
        let forward = tally(&entries);
        entries.reverse();
        assert_eq!(forward, tally(&entries));
        let full = &forward.full[&None];
        assert_eq!((full.count, full.lately, full.suppressed), (3, 1, 0));
        assert_eq!((full.first, full.last), (Some(seconds(100)), Some(seconds(8000))));
        assert_eq!(full.sample, "nf_conntrack: nf_conntrack: table full, dropping packet");
    }

    #[test]
    fn what_the_rate_limit_left_out_near_a_full_table_is_counted_apart() {
        let suppressed = "net_ratelimit: 40 callbacks suppressed";
        assert_eq!(tally(&[(100, FULL), (105, suppressed)]).full[&None].suppressed, 40);
        assert_eq!(tally(&[(105, suppressed), (106, FULL)]).full[&None].suppressed, 40, "from the end");
        assert_eq!(tally(&[(105, suppressed), (105, FULL), (106, suppressed)]).full[&None].suppressed, 80);
        let far = tally(&[(100, FULL), (200, suppressed), (300, FULL)]);
        assert_eq!((far.full[&None].count, far.full[&None].suppressed), (2, 0), "martians were left out, or others");
        assert_eq!(tally(&[(100, suppressed)]).full.len(), 0);
    }

    #[test]
    fn a_repetition_counts_for_the_message_before_it() {
        let again = "last message repeated 5 times";
        let notices = tally(&[(100, FULL), (130, again)]);
        assert_eq!((notices.full[&None].count, notices.full[&None].last), (6, Some(seconds(130))));
        assert_eq!(tally(&[(100, FULL), (101, "eth0: link up"), (130, again)]).full[&None].count, 1);
        assert_eq!(tally(&[(130, again)]).full.len(), 0);
    }

    #[test]
    fn the_messages_of_other_hosts_are_not_this_ones() {
        let mut tally = Tally::new(seconds(10), Some("gate.example.org"));
        for host in ["gate", "GATE.example.net", "src@gate", "localhost", "other", "gate2"] {
            tally.add(&Entry { time: None, host: Some(host.as_bytes()), times: 2, message: FULL.as_bytes() });
        }
        let notices = tally.finish();
        assert_eq!((notices.full[&None].count, notices.other_hosts), (8, 4));
    }

    #[test]
    fn namespaces_are_counted_each_up_to_a_limit() {
        let mut tally = Tally::new(seconds(10), None);
        for netns in 0..1000 {
            let message = format!("nf_conntrack: table full in netns {netns}, dropping packet");
            tally.add(&Entry { time: None, host: None, times: 1, message: message.as_bytes() });
        }
        let full = tally.finish().full;
        assert_eq!((full.len(), full[&Some(3)].count), (MAX_NAMESPACES + 1, 1));
        assert_eq!(full.values().map(|full| full.count).sum::<u64>(), 1000);
    }
}
