//! `-o csv` of an event stream: columns of the record, of the stream, and of the entry.
//!
//! Gap, resync, heartbeat and close records are rows with empty cells for the entry. Open records and expectations
//! are not written.

use super::context::{LineContext, csv_text as text};
use super::duration::{DurationNanos, duration};
use super::heartbeat::HeartbeatRecord;
use super::record::{
    BeginRecord, CloseRecord, EndRecord, EventTime, FlowRecord, GapCause, GapRecord, LastPacket, Record, Requester,
    ResyncRecord, StartTime, SyntheticCause,
};
use super::time_text::TimeText;
use super::write::WriteRecords;
use crate::age::IdleEstimator;
use crate::field::Subject;
use crate::output::columns::{Columns, UnknownColumn};
use crate::output::csv::{CSV_COLUMNS, CsvWriter};
use crate::output::cursor::{Cursor, Scratch};
use crate::output::write::WriteEntries;
use crate::units::Nanos;

/// The default columns of an entry: those of a list without idle time and age, which an event does not
/// have.
fn default_columns() -> Vec<&'static str> {
    CSV_COLUMNS.iter().copied().filter(|name| !matches!(*name, "idle" | "age")).collect()
}

const HEADER: &[u8] =
    b"event,seq,time_ns,clock,synthetic,netns,cause,lost,since_ns,since,duration_ns,duration,killed,requester_port,requester_process,requester_guess,last_packet_after_ns,last_packet_before_ns,";

/// Writes records as CSV.
#[derive(Debug, Clone)]
pub(in crate::output) struct EventCsv {
    flows: CsvWriter,
    /// The columns that are the same in each row: their names, and their cells.
    common_columns: Vec<u8>,
    common_cells: Vec<u8>,
    time: Option<(TimeText, Scratch)>,
    /// The empty cells of a record without an entry, and the end of the line.
    empty_entry: Vec<u8>,
    /// The estimator for the entries of end records.
    ages: IdleEstimator,
}

/// The cells before those of the entry.
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
    start: Option<(u64, &'a str)>,
    duration: Option<DurationNanos>,
    killed: Option<bool>,
    requester: Option<Requester<'a>>,
    last_packet: Option<LastPacket>,
}

impl WriteRecords for EventCsv {
    fn set_context(&mut self, context: &LineContext) {
        self.common_columns = context.csv_columns();
        self.common_cells = context.csv_cells();
        self.time = context.zone.clone().map(|zone| (TimeText::new(zone), Scratch::new()));
    }

    /// A row begins with the kind of record and two numbers; the header with the names of these columns.
    fn is_line(&self, line: &[u8]) -> bool {
        let mut cells = line.split(|byte| *byte == b',');
        let mut next = || cells.next().filter(|cell| !cell.is_empty());
        let is_kind = next().is_some_and(|kind| kind.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'-')));
        let are_numbers = [next(), next()].map(|cell| cell.is_some_and(|cell| cell.iter().all(u8::is_ascii_digit)));
        let is_header = line.starts_with(HEADER) || !line.is_empty() && HEADER.starts_with(line);
        is_header || is_kind && are_numbers == [true; 2]
    }

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
        let mut empty_entry = vec![b','; columns.fields().len().saturating_sub(1)];
        empty_entry.extend_from_slice(b"\r\n");
        let context = LineContext::default();
        EventCsv {
            flows: CsvWriter::new(columns),
            common_columns: context.csv_columns(),
            common_cells: context.csv_cells(),
            time: None,
            empty_entry,
            ages: IdleEstimator::without_timeouts(0),
        }
    }

    /// A writer of the default columns.
    pub(in crate::output) fn with_default_columns() -> Result<Self, UnknownColumn> {
        Columns::resolve(&default_columns()).map(Self::new)
    }

    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(HEADER);
        out.extend_from_slice(&self.common_columns);
        self.flows.begin(out);
    }

    /// Appends one line; false if there is none for this record.
    pub(super) fn record(&mut self, out: &mut Vec<u8>, seq: u64, record: &Record<'_>) -> bool {
        let cells = match record {
            Record::Flow(record) => Cells { event: record.kind.name(), seq, ..Cells::of_flow(record) },
            Record::Begin(begun) => Cells { event: "begin", seq, ..Cells::of_begun(begun) },
            Record::End(ended) => Cells { event: "end", seq, ..Cells::of_ended(ended) },
            Record::Gap(gap) => Cells { event: "gap", seq, ..Cells::of_gap(gap) },
            Record::Resync(resynced) => Cells { event: "resync", seq, ..Cells::of_resynced(resynced) },
            Record::Heartbeat(heartbeat) => Cells { event: "heartbeat", seq, ..Cells::of_heartbeat(heartbeat) },
            Record::Close(closing) => Cells { event: "close", seq, ..Cells::of_closing(closing) },
            Record::Open(_) | Record::Expectation(_) => return false,
        };
        cells.append(out);
        out.extend_from_slice(&self.common_cells);
        if let Some((time, scratch)) = &mut self.time {
            let mut cell = scratch.cursor();
            time.put(&mut cell, record.time());
            cell.put(b",");
            cell.flush(out);
        }
        match record {
            Record::Flow(record) => append_entry(&mut self.flows, out, record.subject),
            Record::Begin(begun) => {
                self.ages.now = begun.time.ns;
                append_entry(&mut self.flows, out, &Subject::new(begun.flow, &self.ages));
            }
            Record::End(ended) => {
                self.ages.now = ended.end.ns;
                append_entry(&mut self.flows, out, &Subject::new(ended.flow, &self.ages));
            }
            _ => out.extend_from_slice(&self.empty_entry),
        }
        true
    }
}

/// Appends the cells of an entry. Line breaks within a quoted cell become spaces, so that each record is
/// one line.
fn append_entry(flows: &mut CsvWriter, out: &mut Vec<u8>, subject: &Subject<'_>) {
    let start = out.len();
    flows.entry(out, subject);
    let end = out.len().saturating_sub(2);
    let line = out.get_mut(start..end).unwrap_or_default();
    line.iter_mut().filter(|byte| matches!(**byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
}

impl<'a> Cells<'a> {
    fn of_flow(record: &FlowRecord<'a>) -> Self {
        Cells {
            netns: record.netns.unwrap_or_default(),
            start: record.start.map(start_cells),
            duration: duration(record.start, record.time, record.synthetic),
            killed: record.killed,
            requester: record.requester,
            ..Cells::at(record.time, record.synthetic)
        }
    }

    fn of_begun(begun: &BeginRecord<'a>) -> Self {
        Cells {
            netns: begun.netns.unwrap_or_default(),
            start: begun.start.map(start_cells),
            requester: begun.requester,
            ..Cells::at(begun.time, begun.synthetic)
        }
    }

    fn of_ended(ended: &EndRecord<'a>) -> Self {
        Cells {
            netns: ended.netns.unwrap_or_default(),
            start: ended.start.map(start_cells),
            duration: duration(ended.start, ended.end, ended.synthetic),
            killed: ended.killed,
            requester: ended.requester,
            last_packet: ended.last_packet,
            ..Cells::at(ended.end, ended.synthetic)
        }
    }

    fn of_gap(gap: &GapRecord<'a>) -> Self {
        Cells {
            time: gap.to,
            netns: gap.netns.unwrap_or_default(),
            cause: gap.cause.name(),
            lost: gap.lost,
            start: Some((gap.from, "")),
            ..Cells::default()
        }
    }

    fn of_resynced(resynced: &ResyncRecord<'a>) -> Self {
        Cells {
            time: resynced.time,
            netns: resynced.netns.unwrap_or_default(),
            cause: resynced.reason.name(),
            ..Cells::default()
        }
    }

    fn of_heartbeat(record: &HeartbeatRecord<'a>) -> Self {
        let lost = (record.stream.uncounted_losses == 0).then_some(record.stream.lost);
        let cause = if record.disabled() > 0 { GapCause::Disabled.name() } else { "" };
        Cells { time: record.time, cause, lost, ..Cells::default() }
    }

    fn of_closing(closing: &CloseRecord<'a>) -> Self {
        let CloseRecord { time, reason, lost, uncounted_losses, .. } = *closing;
        // The cell stays empty if the sum is incomplete.
        let lost = (uncounted_losses == 0).then_some(lost);
        Cells { time, cause: reason, lost, ..Cells::default() }
    }

    fn at(time: EventTime, synthetic: Option<SyntheticCause>) -> Self {
        let synthetic = synthetic.map_or("", SyntheticCause::name);
        Cells { time: time.ns, clock: time.clock.name(), synthetic, ..Cells::default() }
    }

    /// Appends the cells, each followed by a comma.
    fn append(&self, out: &mut Vec<u8>) {
        text(out, self.event);
        number(out, Some(self.seq));
        number(out, Some(self.time));
        text(out, self.clock);
        text(out, self.synthetic);
        text(out, self.netns);
        text(out, self.cause);
        number(out, self.lost);
        number(out, self.start.map(|(ns, _)| ns));
        text(out, self.start.map_or("", |(_, kind)| kind));
        let duration = self.duration.map(duration_cells);
        number(out, duration.map(|(ns, _)| ns));
        text(out, duration.map_or("", |(_, kind)| kind));
        text(out, self.killed.map_or("", |killed| if killed { "true" } else { "false" }));
        number(out, self.requester.map(|requester| requester.port.into()));
        let process = self.requester.and_then(|requester| requester.process);
        text(out, process.unwrap_or_default());
        let is_guess = process.is_some() && self.requester.is_some_and(|requester| !requester.is_certain);
        text(out, if is_guess { "true" } else { "" });
        number(out, self.last_packet.and_then(|last| last.after));
        number(out, self.last_packet.map(|last| last.before));
    }
}

fn start_cells(start: StartTime) -> (u64, &'static str) {
    match start {
        StartTime::Exact(ns) => (ns, "exactly"),
        StartTime::After(ns) => (ns, "after"),
        StartTime::Before(ns) => (ns, "before"),
    }
}

fn duration_cells(duration: DurationNanos) -> (u64, &'static str) {
    match duration {
        DurationNanos::Exact(Nanos(ns)) => (ns, "exactly"),
        DurationNanos::AtLeast(Nanos(ns)) => (ns, "at_least"),
        DurationNanos::AtMost(Nanos(ns)) => (ns, "at_most"),
    }
}

/// Appends a cell with a number, or an empty one, and a comma.
fn number(out: &mut Vec<u8>, number: Option<u64>) {
    if let Some(number) = number {
        let mut digits = [0; 32];
        let mut cursor = Cursor::new(&mut digits);
        cursor.decimal64(number);
        cursor.flush(out);
    }
    out.push(b',');
}
