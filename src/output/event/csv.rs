//! `-o csv` of an event stream: columns of the record, then those of the entry.
//!
//! A gap, a finished resync and the end of the stream are rows as well, with empty cells for
//! the entry. Its beginning is none, and expectations have no columns.

use super::duration::{DurationNanos, duration};
use super::record::{Closing, Ended, FlowRecord, Gap, Record, Requester, Resynced, Since, Stamp, Synthetic};
use super::write::WriteRecords;
use crate::age::IdleEstimator;
use crate::field::Subject;
use crate::output::columns::{Columns, UnknownColumn};
use crate::output::csv::{CSV_COLUMNS, CsvWriter};
use crate::output::cursor::Cursor;
use crate::output::escape;
use crate::units::Nanos;

/// The default columns of an entry in events: those of a list, without idle time and age, which an
/// event does not have.
fn default_columns() -> Vec<&'static str> {
    CSV_COLUMNS.iter().copied().filter(|name| !matches!(*name, "idle" | "age")).collect()
}

const HEADER: &[u8] =
    b"event,seq,time_ns,clock,synthetic,netns,cause,lost,since_ns,since,duration_ns,duration,killed,requester_port,requester_process,requester_guess,";

/// Writes records as CSV.
#[derive(Debug, Clone)]
pub(in crate::output) struct EventCsv {
    flows: CsvWriter,
    /// As many empty cells as an entry has.
    none: Vec<u8>,
    /// For connections that are over.
    ages: IdleEstimator,
}

/// The cells of a record, before those of the entry.
#[derive(Default)]
struct Cells<'a> {
    event: &'a str,
    seq: u64,
    time: u64,
    clock: &'a str,
    synthetic: &'a str,
    netns: &'a str,
    cause: &'a str,
    lost: Option<u64>,
    since: Option<(u64, &'a str)>,
    duration: Option<DurationNanos>,
    killed: Option<bool>,
    requester: Option<Requester<'a>>,
}

impl WriteRecords for EventCsv {
    fn begin(&self, out: &mut Vec<u8>) {
        EventCsv::begin(self, out);
    }

    #[inline]
    fn record(&mut self, out: &mut Vec<u8>, seq: u64, record: &Record<'_>) -> bool {
        EventCsv::record(self, out, seq, record)
    }
}

impl EventCsv {
    pub(in crate::output) fn new(columns: Columns) -> Self {
        let mut none = vec![b','; columns.fields().len().saturating_sub(1)];
        none.extend_from_slice(b"\r\n");
        EventCsv { flows: CsvWriter::new(columns), none, ages: IdleEstimator::without_timeouts(0) }
    }

    /// A writer of the default columns.
    pub(in crate::output) fn with_default_columns() -> Result<Self, UnknownColumn> {
        Columns::resolve(&default_columns()).map(Self::new)
    }

    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(HEADER);
        self.flows.begin(out);
    }

    /// Appends one line; false where there is none for this record.
    pub(super) fn record(&mut self, out: &mut Vec<u8>, seq: u64, record: &Record<'_>) -> bool {
        match record {
            Record::Flow(record) => {
                Cells { event: record.kind.name(), seq, ..Cells::of_flow(record) }.append(out);
                append_entry(&mut self.flows, out, record.subject);
            }
            Record::Ended(ended) => {
                Cells { event: "end", seq, ..Cells::of_ended(ended) }.append(out);
                self.ages.now = ended.end.ns;
                append_entry(&mut self.flows, out, &Subject::new(ended.flow, &self.ages));
            }
            Record::Gap(gap) => {
                Cells { event: "gap", seq, ..Cells::of_gap(gap) }.append(out);
                out.extend_from_slice(&self.none);
            }
            Record::Resynced(resynced) => {
                Cells { event: "resync", seq, ..Cells::of_resynced(resynced) }.append(out);
                out.extend_from_slice(&self.none);
            }
            Record::Closing(closing) => {
                Cells { event: "close", seq, ..Cells::of_closing(closing) }.append(out);
                out.extend_from_slice(&self.none);
            }
            Record::Opening(_) | Record::Expectation(_) => return false,
        }
        true
    }
}

/// Appends the cells of an entry. A cell in quotes may have a newline; one line for each
/// record matters more than the helper's name that had it.
fn append_entry(flows: &mut CsvWriter, out: &mut Vec<u8>, subject: &Subject<'_>) {
    let start = out.len();
    flows.flow(out, subject);
    let end = out.len().saturating_sub(2);
    let line = out.get_mut(start..end).unwrap_or_default();
    line.iter_mut().filter(|byte| matches!(**byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
}

impl<'a> Cells<'a> {
    fn of_flow(record: &FlowRecord<'a>) -> Self {
        Cells {
            netns: record.netns.unwrap_or_default(),
            since: record.since.map(since),
            duration: duration(record.since, record.time, record.synthetic),
            killed: record.killed,
            requester: record.requester,
            ..Cells::at(record.time, record.synthetic)
        }
    }

    fn of_ended(ended: &Ended<'a>) -> Self {
        Cells {
            netns: ended.netns.unwrap_or_default(),
            since: ended.start.map(since),
            duration: duration(ended.start, ended.end, ended.synthetic),
            killed: ended.killed,
            requester: ended.requester,
            ..Cells::at(ended.end, ended.synthetic)
        }
    }

    fn of_gap(gap: &Gap<'a>) -> Self {
        Cells {
            time: gap.to,
            netns: gap.netns.unwrap_or_default(),
            cause: gap.cause.name(),
            lost: gap.lost,
            since: Some((gap.from, "")),
            ..Cells::default()
        }
    }

    fn of_resynced(resynced: &Resynced<'a>) -> Self {
        Cells {
            time: resynced.time,
            netns: resynced.netns.unwrap_or_default(),
            cause: resynced.why.name(),
            ..Cells::default()
        }
    }

    fn of_closing(closing: &Closing<'a>) -> Self {
        let Closing { time, reason, lost, uncounted_losses, .. } = *closing;
        // An empty cell: a part of the number would read like the whole.
        let lost = (uncounted_losses == 0).then_some(lost);
        Cells { time, cause: reason, lost, ..Cells::default() }
    }

    fn at(time: Stamp, synthetic: Option<Synthetic>) -> Self {
        let synthetic = synthetic.map_or("", Synthetic::name);
        Cells { time: time.ns, clock: time.clock.name(), synthetic, ..Cells::default() }
    }

    /// Appends the cells, each with a comma behind it.
    fn append(&self, out: &mut Vec<u8>) {
        word(out, self.event);
        number(out, Some(self.seq));
        number(out, Some(self.time));
        word(out, self.clock);
        word(out, self.synthetic);
        word(out, self.netns);
        word(out, self.cause);
        number(out, self.lost);
        number(out, self.since.map(|(ns, _)| ns));
        word(out, self.since.map_or("", |(_, kind)| kind));
        let duration = self.duration.map(duration_cells);
        number(out, duration.map(|(ns, _)| ns));
        word(out, duration.map_or("", |(_, kind)| kind));
        word(out, self.killed.map_or("", |killed| if killed { "true" } else { "false" }));
        number(out, self.requester.map(|requester| requester.port.into()));
        let process = self.requester.and_then(|requester| requester.process);
        word(out, process.unwrap_or_default());
        let is_guess = process.is_some() && self.requester.is_some_and(|requester| !requester.is_certain);
        word(out, if is_guess { "true" } else { "" });
    }
}

fn since(since: Since) -> (u64, &'static str) {
    match since {
        Since::Exactly(ns) => (ns, "exactly"),
        Since::Before(ns) => (ns, "before"),
    }
}

fn duration_cells(duration: DurationNanos) -> (u64, &'static str) {
    match duration {
        DurationNanos::Exactly(Nanos(ns)) => (ns, "exactly"),
        DurationNanos::AtLeast(Nanos(ns)) => (ns, "at_least"),
        DurationNanos::AtMost(Nanos(ns)) => (ns, "at_most"),
    }
}

/// A word of ours, or a name from outside: control characters would break the line.
fn word(out: &mut Vec<u8>, word: &str) {
    if word.contains(char::is_control) {
        let mut escaped = Vec::new();
        escape::for_terminal(&mut escaped, word);
        escape::csv_cell(out, &escaped);
    } else {
        escape::csv_cell(out, word.as_bytes());
    }
    out.push(b',');
}

fn number(out: &mut Vec<u8>, number: Option<u64>) {
    if let Some(number) = number {
        let mut digits = [0; 32];
        let mut cursor = Cursor::new(&mut digits);
        cursor.decimal64(number);
        cursor.flush(out);
    }
    out.push(b',');
}
