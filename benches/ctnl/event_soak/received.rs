//! The lines that arrived at a sink, by stream and number.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;

use super::StreamSent;
use super::stream_run::End;

/// What a peer loses this long before the program is killed may be missing, in milliseconds: lines are kept
/// for ten seconds, and this test's peers take up to five to lose them.
const MAY_BE_LOST: u32 = 15_000;

/// The keys of a line that count here (docs/events.md).
#[derive(Debug, Deserialize)]
struct Line<'a> {
    stream: &'a str,
    seq: usize,
    event: &'a str,
    synthetic: Option<&'a str>,
    cause: Option<&'a str>,
    lost: Option<u64>,
    time_ns: Option<u64>,
}

/// One stream at one sink.
#[derive(Debug, Default)]
struct Stream {
    /// The time of `open`, by which the runs are ordered.
    opened_ns: u64,
    /// The hash of each line by its number, from 1 on; 0 where it has not arrived.
    lines: Vec<u64>,
    /// The time of each line in milliseconds since `open`; that of the line before it where it has none.
    times: Vec<u32>,
    /// The gaps of this sink alone: the first number, and the number of lines where it is known.
    own_gaps: BTreeMap<usize, Option<u64>>,
    events: u64,
    kernel_lost: u64,
    uncounted: u64,
    closed: bool,
    repeated: u64,
    faults: Vec<String>,
}

/// What arrived at one sink.
#[derive(Debug, Default)]
pub struct Received {
    streams: BTreeMap<String, Stream>,
    unreadable: u64,
}

impl Received {
    /// Adds a line, without its end.
    pub fn add(&mut self, text: &[u8]) {
        match serde_json::from_slice::<Line<'_>>(text) {
            Ok(line) => {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                let stream = self.streams.entry(line.stream.to_owned()).or_default();
                stream.add(&line, hasher.finish() | 1);
            }
            Err(_) => self.unreadable += 1,
        }
    }
}

impl Stream {
    fn add(&mut self, line: &Line<'_>, hash: u64) {
        if self.lines.len() < line.seq {
            self.lines.resize(line.seq, 0);
        }
        let Some(known) = line.seq.checked_sub(1).and_then(|at| self.lines.get_mut(at)) else {
            self.faults.push("a line has the number 0".to_owned());
            return;
        };
        if *known != 0 {
            self.repeated += 1;
            if *known != hash {
                self.faults.push(format!("two different lines have the number {}", line.seq));
            }
            return;
        }
        *known = hash;
        self.count(line);
        self.add_time(line);
    }

    fn add_time(&mut self, line: &Line<'_>) {
        let since_open = line.time_ns.unwrap_or(0).saturating_sub(self.opened_ns) / 1_000_000;
        let before = self.times.last().copied().unwrap_or(0);
        self.times.resize(line.seq, before.max(u32::try_from(since_open).unwrap_or(before)));
    }

    /// The number of the first line of the last [`MAY_BE_LOST`].
    fn recent(&self) -> usize {
        let end = self.times.last().copied().unwrap_or(0);
        self.times.iter().filter(|time| **time + MAY_BE_LOST < end).count() + 1
    }

    fn count(&mut self, line: &Line<'_>) {
        match (line.event, line.cause) {
            ("new" | "destroy", _) => self.events += u64::from(line.synthetic.is_none()),
            ("open", _) => self.opened_ns = line.time_ns.unwrap_or(0),
            ("close", _) => self.closed = true,
            ("gap", Some("queue" | "spool" | "refused")) => {
                self.own_gaps.insert(line.seq, line.lost);
            }
            ("gap", Some("disabled")) => {}
            ("gap", _) => {
                self.kernel_lost += line.lost.unwrap_or(0);
                self.uncounted += u64::from(line.lost.is_none());
            }
            _ => {}
        }
    }

    /// The number of lines that this sink's own gaps count.
    fn dropped(&self) -> u64 {
        self.own_gaps.values().flatten().sum()
    }

    /// The numbers that neither arrived nor lie in a gap.
    fn holes(&self) -> impl Iterator<Item = usize> {
        let mut covered = 0;
        self.lines.iter().enumerate().filter_map(move |(at, hash)| {
            let number = at + 1;
            if let Some(lost) = self.own_gaps.get(&number) {
                covered = number + usize::try_from(lost.unwrap_or(1)).unwrap_or(usize::MAX - number);
            }
            (*hash == 0 && number >= covered).then_some(number)
        })
    }

    /// The first number whose line differs from that of `other`, gaps of one sink apart.
    fn first_difference(&self, other: &Stream) -> Option<usize> {
        let both = self.lines.iter().zip(&other.lines).enumerate();
        let differs = |(at, (mine, theirs)): (usize, (&u64, &u64))| {
            let is_own = self.own_gaps.contains_key(&(at + 1)) || other.own_gaps.contains_key(&(at + 1));
            (*mine != 0 && *theirs != 0 && mine != theirs && !is_own).then_some(at + 1)
        };
        both.filter_map(differs).next()
    }
}

/// What arrived at all sinks. The first one is a file, which loses nothing.
#[derive(Debug)]
pub struct Arrived(Vec<(String, Received)>);

/// The result.
#[derive(Debug)]
pub struct Verdict {
    /// A line for each sink.
    pub table: String,
    pub faults: Vec<String>,
}

impl Arrived {
    pub fn new(names: impl Iterator<Item = String>) -> Self {
        Arrived(names.map(|name| (name, Received::default())).collect())
    }

    pub fn extend(&mut self, more: impl IntoIterator<Item = (String, Received)>) {
        self.0.extend(more);
    }

    /// What arrived at the sink of this name.
    pub fn of(&mut self, name: &str) -> Option<&mut Received> {
        self.0.iter_mut().find(|(known, _)| known == name).map(|(_, received)| received)
    }

    /// Compares every stream of every sink with the first sink's, and that one with what was sent.
    pub fn compare(&self, sent: &[StreamSent]) -> Verdict {
        let mut verdict = Verdict { table: String::new(), faults: Vec::new() };
        let Some((_, first)) = self.0.first() else { return verdict };
        let mut runs: Vec<(&String, &Stream)> = first.streams.iter().collect();
        runs.sort_by_key(|(_, stream)| stream.opened_ns);
        if runs.len() != sent.len() {
            verdict.faults.push(format!("{} streams instead of {}", runs.len(), sent.len()));
        }
        for ((name, stream), sent) in runs.iter().zip(sent) {
            verdict.faults.extend(stream.fault_of_sent(sent).map(|fault| format!("stream {name}: {fault}")));
        }
        for (sink, received) in &self.0 {
            verdict.add(sink, received, &runs);
        }
        verdict
    }
}

impl Stream {
    /// Compares with what was sent. A killed run may have lost what it had in memory.
    fn fault_of_sent(&self, sent: &StreamSent) -> Option<String> {
        let accounted = self.events + self.kernel_lost;
        match sent.end {
            End::Terminated if !self.closed => Some("it has no close record".to_owned()),
            End::Terminated if self.uncounted > 0 => Some(format!("{} losses without a number", self.uncounted)),
            End::Terminated if accounted != sent.events => {
                Some(format!("{} events received, {} lost, {} sent", self.events, self.kernel_lost, sent.events))
            }
            End::Killed if accounted > sent.events => Some(format!(
                "killed: {} events received, {} lost, {} sent",
                self.events, self.kernel_lost, sent.events
            )),
            _ => None,
        }
    }
}

impl Verdict {
    fn add(&mut self, sink: &str, received: &Received, runs: &[(&String, &Stream)]) {
        let (mut lines, mut repeated, mut dropped, mut killed) = (0_u64, 0, 0, 0);
        for (name, reference) in runs {
            let Some(stream) = received.streams.get(*name) else {
                // A run that was killed at once may have left nothing at a sink that was down.
                if reference.closed {
                    self.faults.push(format!("{sink}: nothing of stream {name} arrived"));
                }
                continue;
            };
            lines += stream.lines.iter().filter(|hash| **hash != 0).count() as u64;
            repeated += stream.repeated;
            dropped += stream.dropped();
            killed += stream.holes().count();
            self.faults.extend(stream.faults.iter().map(|fault| format!("{sink}, stream {name}: {fault}")));
            self.faults.extend(stream.fault_beside(reference).map(|fault| format!("{sink}, stream {name}: {fault}")));
        }
        if received.unreadable > 0 {
            self.faults.push(format!("{sink}: {} lines cannot be read", received.unreadable));
        }
        let unknown = received.streams.keys().filter(|name| !runs.iter().any(|(known, _)| known == name)).count();
        if unknown > 0 {
            self.faults.push(format!("{sink}: {unknown} streams that the file does not have"));
        }
        // A `String` takes everything.
        let _ = writeln!(
            self.table,
            "  {sink}: {lines} lines, {repeated} repeated, {dropped} in gaps of its own, {killed} lost by a peer right before a kill"
        );
    }
}

impl Stream {
    fn fault_beside(&self, reference: &Stream) -> Option<String> {
        // Of a run that was killed, what a peer lost right before is not sent again (docs/sinks.md).
        let strict = if reference.closed { usize::MAX } else { reference.recent() };
        if let Some(hole) = self.holes().find(|number| *number < strict) {
            return Some(format!("line {hole} of {} is missing without a gap", reference.lines.len()));
        }
        if let Some(number) = self.first_difference(reference) {
            return Some(format!("line {number} differs from the file's"));
        }
        let end = self
            .own_gaps
            .last_key_value()
            .map_or(0, |(first, lost)| first - 1 + usize::try_from(lost.unwrap_or(0)).unwrap_or(0));
        let reached = self.lines.len().max(end);
        (reference.closed && reached != reference.lines.len())
            .then(|| format!("it ends at line {reached} of {}", reference.lines.len()))
    }
}
