//! Tests of whole lines: heartbeats, and the flat records of connections.

use std::time::Duration;

use super::lines::{begun, ended, json, line, text, translated};
use super::*;
use crate::metrics::{SinkSnapshot, StreamSnapshot};
use crate::model::Flow;
use crate::output::{CONNTRACK, CSV, TextOptions};

const SNAPSHOT: StreamSnapshot = StreamSnapshot {
    interval: Duration::from_secs(60),
    received_in_interval: 60,
    received: 100,
    matched: 90,
    lost: 3,
    uncounted_losses: 0,
    unreadable: 0,
    undecided: 0,
    records: 95,
    queued: 0,
    capacity: 16 << 20,
    entries: Some(7),
    namespaces: 2,
};

fn sinks() -> Vec<SinkState> {
    let snapshot = SinkSnapshot { queued: 10, spooled: 9000, delivered: 5, dropped: 1 };
    let oldest = Some(WaitingLine { stream: "18f-7".into(), seq: 6, written_after: Some(2) });
    let why = Some("Connection refused (os error 111)".into());
    let down = SinkState { name: "tcp:h:1".into(), snapshot, oldest, down_since: Some(4), why };
    vec![SinkState { name: "stdout".into(), ..SinkState::default() }, down]
}

#[test]
fn a_heartbeat_is_written_in_every_format_and_shows_what_is_down_or_disabled() {
    let (sinks, netns) = (sinks(), vec!["blue".to_owned()]);
    let off = SysctlGroup { events: Some(0), acct: Some(1), timestamp: None, namespaces: 1, netns };
    let on = SysctlGroup { events: Some(1), acct: Some(0), timestamp: Some(1), namespaces: 1, netns: Vec::new() };
    let sysctls = [off, on];
    let (time, interval) = (1_700_000_000_123_456_789, 60_000_000_000);
    let heartbeat = HeartbeatRecord { time, interval, stream: &SNAPSHOT, sinks: &sinks, sysctls: &sysctls };
    let record = Record::Heartbeat(heartbeat);
    assert_eq!(
        json(&record),
        "{\"v\":1,\"seq\":17,\"event\":\"heartbeat\",\"time_ns\":1700000000123456789,\"interval_ns\":60000000000,\
         \"received\":100,\"matched\":90,\"lost\":3,\"uncounted_losses\":0,\"unreadable\":0,\"undecided\":0,\
         \"records\":95,\"entries\":7,\"namespaces\":2,\"buffer_used_bytes\":0,\"buffer_limit_bytes\":16777216,\
         \"sinks\":[{\"name\":\"stdout\",\"queue_bytes\":0,\"spool_bytes\":0,\"delivered\":0,\"dropped\":0},\
         {\"name\":\"tcp:h:1\",\"queue_bytes\":10,\"spool_bytes\":9000,\"delivered\":5,\"dropped\":1,\
         \"oldest\":\"18f-7-6\",\"oldest_after_ns\":2,\"down_since_ns\":4,\"why\":\"Connection refused (os error 111)\"}],\
         \"sysctls\":[{\"namespaces\":1,\"nf_conntrack_events\":0,\"nf_conntrack_acct\":1,\"netns\":[\"blue\"]},\
         {\"namespaces\":1,\"nf_conntrack_events\":1,\"nf_conntrack_acct\":0,\"nf_conntrack_timestamp\":1}]}\n"
    );
    let with_time = TextOptions { timestamp: true, ..TextOptions::default() };
    assert_eq!(
        line(&CONNTRACK, with_time, &record).unwrap(),
        "[1700000000.123456]\t[HEARTBEAT] rate=1/s received=100 matched=90 lost=3 uncounted_losses=0 unreadable=0 \
         undecided=0 queue=0% buffer=8MiB records=95 entries=7 namespaces=2 disabled=1 \
         stdout: waiting=0B spooled=0B delivered=0 dropped=0 \
         tcp:h:1: waiting=10B spooled=8KiB delivered=5 dropped=1 down (Connection refused (os error 111))\n"
    );
    let csv = |record: &Record<'_>| line(&CSV, TextOptions::default(), record).unwrap();
    assert!(csv(&record).starts_with("heartbeat,17,1700000000123456789,,,,disabled,3,,"), "{}", csv(&record));
    let enabled = Record::Heartbeat(HeartbeatRecord { sysctls: &[], ..heartbeat });
    assert!(csv(&enabled).starts_with("heartbeat,17,1700000000123456789,,,,,3,,"), "{}", csv(&enabled));
}

#[test]
fn a_begin_record_has_the_translation_and_no_duration() {
    let flow = Flow { counters_orig: None, counters_reply: None, ..translated() };
    assert_eq!(
        json(&Record::Begin(begun(&flow))),
        "{\"v\":1,\"seq\":17,\"event\":\"begin\",\"time_ns\":1700000000123456789,\"clock\":\"kernel\",\
         \"since_ns\":1700000000123456789,\"since_clock\":\"kernel\",\"since\":\"exactly\",\
         \"family\":\"ipv4\",\"proto\":6,\"protocol\":\"tcp\",\
         \"src\":\"192.0.2.2\",\"dst\":\"198.51.100.2\",\"sport\":32768,\"dport\":443,\
         \"nat_src\":\"203.0.113.5\",\"nat_sport\":32768}\n"
    );
    assert!(text(&Record::Begin(begun(&flow))).unwrap().starts_with("    [NEW] tcp"));
}

#[test]
fn an_end_record_has_the_bounds_of_the_last_packet_where_they_are_known() {
    let flow = translated();
    let with = |last_packet| Record::End(EndRecord { last_packet, ..ended(&flow) });
    let both = json(&with(Some(LastPacket { after: Some(5), before: 6 })));
    assert!(both.contains(",\"duration_ns\":12,\"last_packet_after_ns\":5,\"last_packet_before_ns\":6,"), "{both}");
    let one = json(&with(Some(LastPacket { after: None, before: 6 })));
    assert!(!one.contains("last_packet_after") && one.contains(",\"last_packet_before_ns\":6,"), "{one}");
    assert!(!json(&with(None)).contains("last_packet"));
}
