//! Tests of whole lines.

use super::*;
use crate::field::Subject;
use crate::metrics::StreamSnapshot;
use crate::model::{Counters, EventKind, Flow, L4, Status};
use crate::output::sample;
use crate::output::{CONNTRACK, CSV, EventWriter, Format, JSON, TABLE, TextOptions, WriterOptions, XML};

pub(super) const REAL: EventTime = EventTime { ns: 1_700_000_000_123_456_789, clock: ClockSource::Kernel };

/// A TCP connection with source NAT that rewrites only the address.
pub(super) fn translated() -> Flow {
    let mut flow = sample::flow("192.0.2.2", "198.51.100.2", 6, L4::Ports { src: 32768, dst: 443 });
    flow.reply.dst = [203, 0, 113, 5].into();
    flow.status = Status::Confirmed | Status::SrcNat;
    flow.counters_orig = Some(Counters { packets: 4, bytes: 218 });
    flow.counters_reply = Some(Counters { packets: 3, bytes: 264 });
    flow
}

pub(super) fn ended(flow: &Flow) -> EndRecord<'_> {
    EndRecord {
        flow,
        start: Some(StartTime::Exact(REAL.ns - 12)),
        end: REAL,
        last_packet: None,
        synthetic: None,
        killed: Some(false),
        requester: None,
        netns: None,
        is_mark_implied: false,
    }
}

pub(super) fn begun(flow: &Flow) -> BeginRecord<'_> {
    BeginRecord {
        flow,
        start: Some(StartTime::Exact(REAL.ns)),
        time: REAL,
        synthetic: None,
        requester: None,
        netns: None,
        is_mark_implied: false,
    }
}

fn destroyed<'a>(subject: &'a Subject<'a>) -> FlowRecord<'a> {
    FlowRecord {
        kind: EventKind::Destroy,
        synthetic: Some(SyntheticCause::Resync),
        time: EventTime { clock: ClockSource::Received, ..REAL },
        subject,
        start: Some(StartTime::Before(5)),
        killed: Some(true),
        requester: Some(Requester { port: 77, process: Some("a b\n"), is_certain: false }),
        netns: Some("blue"),
        is_mark_implied: false,
    }
}

const GAP: GapRecord<'static> = GapRecord {
    cause: GapCause::Kernel,
    lost: Some(1234),
    from: 1_700_000_000_000_001_000,
    to: 1_700_000_000_250_000_000,
    netns: None,
};

pub(super) fn line(format: &Format, text: TextOptions, record: &Record<'_>) -> Option<String> {
    line_of(format.event_writer(WriterOptions { text, columns: None }).unwrap(), record)
}

/// With everything that may stand on every line.
fn line_in_context(format: &Format, record: &Record<'_>) -> Option<String> {
    let mut writer = format.event_writer(WriterOptions::default()).unwrap();
    writer.set_context(&context());
    line_of(writer, record)
}

fn context() -> LineContext {
    let fields = vec![("site".into(), "a \"b\",\n".into()), ("rack".into(), "7".into())];
    LineContext { stream: "18f-7".into(), host: Some("fw1".into()), fields, zone: None }
}

fn line_of(mut writer: EventWriter, record: &Record<'_>) -> Option<String> {
    let mut out = Vec::new();
    writer.record(&mut out, 17, record).then(|| String::from_utf8(out).unwrap())
}

pub(super) fn json(record: &Record<'_>) -> String {
    line(&JSON, TextOptions::default(), record).unwrap()
}

pub(super) fn text(record: &Record<'_>) -> Option<String> {
    line(&CONNTRACK, TextOptions::default(), record)
}

#[test]
fn an_end_record_is_flat_and_has_the_translated_address_and_port() {
    assert_eq!(
        json(&Record::End(ended(&translated()))),
        "{\"v\":1,\"seq\":17,\"event\":\"end\",\"time_ns\":1700000000123456789,\"clock\":\"kernel\",\
         \"killed\":false,\"since_ns\":1700000000123456777,\"since_clock\":\"kernel\",\"since\":\"exactly\",\
         \"duration_ns\":12,\
         \"family\":\"ipv4\",\"proto\":6,\"protocol\":\"tcp\",\
         \"src\":\"192.0.2.2\",\"dst\":\"198.51.100.2\",\"sport\":32768,\"dport\":443,\
         \"nat_src\":\"203.0.113.5\",\"nat_sport\":32768,\
         \"packets_orig\":4,\"bytes_orig\":218,\"packets_reply\":3,\"bytes_reply\":264}\n"
    );
}

#[test]
fn a_synthetic_destroy_is_marked_and_has_no_duration_if_both_times_are_bounds() {
    let (flow, ages) = (sample::flow("10.0.0.1", "10.0.0.2", 50, L4::None), sample::ages(0));
    let subject = Subject::new(&flow, &ages);
    let record = Record::Flow(destroyed(&subject));
    assert_eq!(
        json(&record),
        "{\"v\":1,\"seq\":17,\"event\":\"destroy\",\"synthetic\":\"resync\",\"time_ns\":1700000000123456789,\
         \"clock\":\"received\",\"netns\":\"blue\",\"killed\":true,\
         \"requester\":{\"port\":77,\"process\":\"a b\\n\",\"guess\":true},\"since_ns\":5,\"since_clock\":\"received\",\
         \"since\":\"before\",\
         \"flow\":{\"family\":\"ipv4\",\"proto\":50,\"orig\":{\"src\":\"10.0.0.1\",\"dst\":\"10.0.0.2\"},\
         \"reply\":{\"src\":\"10.0.0.2\",\"dst\":\"10.0.0.1\"},\"status\":[]}}\n"
    );
    assert_eq!(
        text(&record).unwrap(),
        "[DESTROY] unknown  50 src=10.0.0.1 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1 \
         [USERSPACE] portid=77 progname=a b\\x0a netns=blue [RESYNC]\n"
    );
}

#[test]
fn a_gap_is_written_in_every_format() {
    let record = Record::Gap(GAP);
    assert_eq!(
        json(&record),
        "{\"v\":1,\"seq\":17,\"event\":\"gap\",\"time_ns\":1700000000250000000,\"cause\":\"kernel\",\
         \"lost\":1234,\"from_ns\":1700000000000001000,\"to_ns\":1700000000250000000}\n"
    );
    let with_time = TextOptions { timestamp: true, ..TextOptions::default() };
    assert_eq!(
        line(&CONNTRACK, with_time, &record).unwrap(),
        "[1700000000.250000]\t    [GAP] lost=1234 cause=kernel from=1700000000.000001 to=1700000000.250000\n"
    );
    let row = line(&CSV, TextOptions::default(), &record).unwrap();
    assert_eq!(
        row,
        format!("gap,17,1700000000250000000,,,,kernel,1234,1700000000000001000,,,,,,,,,,,{}\r\n", ",".repeat(18))
    );
}

#[test]
fn every_json_line_and_every_csv_row_has_its_stream_its_host_and_the_fields() {
    for record in [Record::Gap(GAP), Record::End(ended(&translated())), Record::Close(CLOSING)] {
        let json = line_in_context(&JSON, &record).unwrap();
        let beginning =
            "{\"v\":1,\"host\":\"fw1\",\"stream\":\"18f-7\",\"line_id\":\"18f-7-17\",\"seq\":17,\"event\":\"";
        assert!(json.starts_with(beginning), "{json}");
        assert!(json.ends_with(",\"fields\":{\"site\":\"a \\\"b\\\",\\n\",\"rack\":\"7\"}}\n"), "{json}");
        let row = line_in_context(&CSV, &record).unwrap();
        assert!(row.contains(",18f-7,fw1,\"a \"\"b\"\",\\x0a\",7,"), "{row}");
        // The text is that of conntrack(8).
        assert_eq!(line_in_context(&CONNTRACK, &record), text(&record));
    }
}

#[test]
fn with_a_zone_each_line_has_its_time_as_text_too() {
    let zone = Some(jiff::tz::TimeZone::UTC);
    let in_zone = |format: &Format, timestamp, record: &Record<'_>| {
        let text = TextOptions { timestamp, ..TextOptions::default() };
        let mut writer = format.event_writer(WriterOptions { text, columns: None }).unwrap();
        writer.set_context(&LineContext { zone: zone.clone(), ..context() });
        let mut header = Vec::new();
        writer.begin(&mut header);
        let line = line_of(writer.clone(), record).unwrap();
        assert!(writer.is_line(line.trim_ascii_end().as_bytes()), "{line}");
        (String::from_utf8(header).unwrap(), line)
    };
    let flow = translated();
    for (record, time) in [
        (Record::Gap(GAP), "2023-11-14T22:13:20.250000000Z"),
        (Record::End(ended(&flow)), "2023-11-14T22:13:20.123456789Z"),
        (Record::Close(CLOSING), "1970-01-01T00:00:00.000000001Z"),
    ] {
        let (_, json) = in_zone(&JSON, false, &record);
        assert!(json.contains(&format!(",\"seq\":17,\"time\":\"{time}\",\"event\":")), "{json}");
        let (header, csv) = in_zone(&CSV, false, &record);
        assert!(header.contains(",stream,host,fields.site,fields.rack,time,"), "{header}");
        assert!(csv.contains(&format!(",18f-7,fw1,\"a \"\"b\"\",\\x0a\",7,{time},")), "{csv}");
    }
    let plain = text(&Record::Gap(GAP)).unwrap();
    for timestamp in [false, true] {
        let (_, line) = in_zone(&CONNTRACK, timestamp, &Record::Gap(GAP));
        assert_eq!(line, format!("[2023-11-14T22:13:20.250000000Z]\t{plain}"));
    }
}

#[test]
fn a_format_recognises_its_own_lines_and_no_other_text() {
    let (flow, ages) = (translated(), sample::ages(0));
    let subject = Subject::new(&flow, &ages);
    let with_time = TextOptions { timestamp: true, ..TextOptions::default() };
    let mut header = Vec::new();
    CSV.event_writer(WriterOptions::default()).unwrap().begin(&mut header);
    let is_line = |format: &Format, line: &[u8]| {
        format.event_writer(WriterOptions::default()).unwrap().is_line(line.trim_ascii_end())
    };
    assert!(is_line(&CSV, &header) && is_line(&CSV, b"event,se") && is_line(&JSON, b"{\"v"));
    let stream = &StreamSnapshot::default();
    let heartbeat = HeartbeatRecord { time: 1, interval: 1, stream, sinks: &[], sysctls: &[] };
    let (begun, heartbeat) = (Record::Begin(begun(&flow)), Record::Heartbeat(heartbeat));
    for record in [Record::Flow(destroyed(&subject)), begun, Record::End(ended(&flow)), heartbeat, Record::Gap(GAP)] {
        for format in [&CONNTRACK, &CSV, &JSON] {
            let lines = [line(format, with_time.clone(), &record), line_in_context(format, &record)];
            for line in lines.into_iter().flatten() {
                assert!(is_line(format, line.as_bytes()), "{line}");
                let others = [&CONNTRACK, &CSV, &JSON].into_iter().filter(|other| *other != format);
                assert!(others.into_iter().all(|other| !is_line(other, line.as_bytes())), "{line}");
            }
        }
    }
    for text in ["", "x", "root:x:0:0:root:/root:/bin/sh", "{\"a\":1}", "a,b,c", "new,x,1", "[1.5] x", "\0\0\0\0\0\0\0"]
    {
        assert!([&CONNTRACK, &CSV, &JSON].into_iter().all(|format| !is_line(format, text.as_bytes())), "{text:?}");
    }
}

#[test]
fn csv_rows_have_as_many_cells_as_the_header() {
    let mut writer = CSV.event_writer(WriterOptions::default()).unwrap();
    writer.set_context(&context());
    let mut header = Vec::new();
    writer.begin(&mut header);
    let header = String::from_utf8(header).unwrap();
    assert!(
        header.starts_with(
            "event,seq,time_ns,clock,synthetic,netns,cause,lost,since_ns,since,duration_ns,duration,killed,"
        )
    );
    let (flow, ages) = (translated(), sample::ages(0));
    let subject = Subject::new(&flow, &ages);
    let resynced = ResyncRecord {
        reason: SyntheticCause::Seed,
        time: 1,
        entries: Some(2),
        added: 3,
        removed: 4,
        netns: Some("a"),
    };
    let stream = &StreamSnapshot::default();
    let heartbeat = HeartbeatRecord { time: 1, interval: 1, stream, sinks: &[], sysctls: &[] };
    for record in [
        Record::Flow(destroyed(&subject)),
        Record::End(ended(&flow)),
        Record::Begin(begun(&flow)),
        Record::Heartbeat(heartbeat),
        Record::Gap(GAP),
        Record::Resync(resynced),
        Record::Close(CLOSING),
    ] {
        let row = line_in_context(&CSV, &record).unwrap();
        // The status is a quoted cell with commas.
        let commas = row.split('"').step_by(2).map(|part| part.matches(',').count()).sum::<usize>();
        assert_eq!(commas, header.matches(',').count(), "{row}");
    }
}

const CLOSING: CloseRecord<'_> =
    CloseRecord { time: 1, reason: "SIGTERM", received: 2, lost: 3, uncounted_losses: 0, records: 4 };

#[test]
fn a_csv_row_has_the_duration_and_the_close_row_the_sum_of_losses() {
    let row = |record: &Record<'_>| line(&CSV, TextOptions::default(), record).unwrap();
    let flow = translated();
    let exact = row(&Record::End(ended(&flow)));
    assert!(exact.contains(",1700000000123456777,exactly,12,exactly,false,"), "{exact}");
    let open = EndRecord { start: Some(StartTime::Before(1_700_000_000_123_456_780)), ..ended(&flow) };
    assert!(row(&Record::End(open)).contains(",before,9,at_least,"));
    let late = EndRecord { end: EventTime { clock: ClockSource::Received, ..REAL }, ..open };
    assert!(row(&Record::End(late)).contains(",before,,,false,"));
    let seen = EndRecord { start: Some(StartTime::After(1_700_000_000_123_456_780)), ..late };
    assert!(row(&Record::End(seen)).contains(",after,9,at_most,"));
    let missed = EndRecord { synthetic: Some(SyntheticCause::Resync), ..ended(&flow) };
    assert!(row(&Record::End(missed)).contains(",exactly,12,at_most,"));
    assert!(row(&Record::Close(CLOSING)).starts_with("close,17,1,,,,SIGTERM,3,,,,,"));
}

#[test]
fn a_loss_of_unknown_size_is_not_written_as_zero() {
    let gap = Record::Gap(GapRecord { lost: None, ..GAP });
    assert!(json(&gap).contains("\"cause\":\"kernel\",\"from_ns\":"), "{}", json(&gap));
    assert!(text(&gap).unwrap().contains("[GAP] lost=unknown cause=kernel "));
    let csv = |record: &Record<'_>| line(&CSV, TextOptions::default(), record).unwrap();
    assert!(csv(&gap).starts_with("gap,17,1700000000250000000,,,,kernel,,"), "{}", csv(&gap));
    let closing = Record::Close(CloseRecord { uncounted_losses: 1, ..CLOSING });
    assert!(json(&closing).contains("\"lost\":3,\"uncounted_losses\":1,"), "{}", json(&closing));
    assert!(csv(&closing).starts_with("close,17,1,,,,SIGTERM,,"), "{}", csv(&closing));
}

#[test]
fn a_record_without_a_line_in_a_format_appends_nothing() {
    let opening = Record::Open(OpenRecord { time: 1, version: "1" });
    assert_eq!(text(&Record::Close(CLOSING)), None);
    assert_eq!((text(&opening), line(&CSV, TextOptions::default(), &opening)), (None, None));
    assert!(json(&opening).contains("\"event\":") && json(&Record::Close(CLOSING)).contains("\"event\":"));
}

#[test]
fn formats_and_columns_without_event_support_are_rejected() {
    for format in [&TABLE, &XML] {
        let error = format.event_writer(WriterOptions::default()).unwrap_err();
        assert!(error.to_string().contains("expected one of conntrack, json, csv"), "{error}");
    }
    let columns = |format: &Format| {
        format.event_writer(WriterOptions { columns: Some(vec!["src".into()]), ..WriterOptions::default() }).is_ok()
    };
    assert!(columns(&CSV) && !columns(&JSON) && !columns(&CONNTRACK));
}

#[test]
fn a_duration_is_exact_only_if_start_and_end_are() {
    use super::duration::{DurationNanos, duration};
    use crate::units::Nanos;
    let end = EventTime { ns: 10, clock: ClockSource::Kernel };
    let of = |since, synthetic| duration(Some(since), end, synthetic);
    assert_eq!(of(StartTime::Exact(4), None), Some(DurationNanos::Exact(Nanos(6))));
    assert_eq!(of(StartTime::Before(4), None), Some(DurationNanos::AtLeast(Nanos(6))));
    assert_eq!(of(StartTime::Exact(4), Some(SyntheticCause::Resync)), Some(DurationNanos::AtMost(Nanos(6))));
    assert_eq!(of(StartTime::Before(4), Some(SyntheticCause::Resync)), None);
    assert_eq!(of(StartTime::Exact(11), None), Some(DurationNanos::Exact(Nanos(0))));
    assert_eq!(of(StartTime::After(4), None), Some(DurationNanos::AtMost(Nanos(6))));
    assert_eq!(duration(None, end, None), None);
    // An expired entry ended before its event was received.
    let received = |since| duration(Some(since), EventTime { clock: ClockSource::Received, ..end }, None);
    assert_eq!(received(StartTime::Exact(4)), Some(DurationNanos::AtMost(Nanos(6))));
    assert_eq!(received(StartTime::After(4)), Some(DurationNanos::AtMost(Nanos(6))));
    assert_eq!(received(StartTime::Before(4)), None);
}
