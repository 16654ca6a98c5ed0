//! `--heartbeat`.

use std::fs;

use ctnl::output::WaitingLine;

use super::super::ReportedSysctls;
use super::*;

fn every(seconds: u64) -> FollowOptions {
    FollowOptions { heartbeat: Some(Duration::from_secs(seconds)), ..options(true, OnGap::Resync) }
}

fn heartbeats(outlet: &StoredChunks) -> Vec<Value> {
    outlet.records().into_iter().filter(|record| record["event"] == "heartbeat").collect()
}

#[test]
fn a_quiet_stream_has_a_heartbeat_at_each_interval_and_by_default_none() {
    let (source, outlet) = (script([]), StoredChunks::default());
    run(every(10), vec![stream(None, &source, table(&[1]))], &outlet, &mut env(35));
    let found = heartbeats(&outlet);
    let seconds: Vec<u64> = found.iter().map(|record| record["time_ns"].as_u64().unwrap() / 1_000_000_000).collect();
    assert_eq!(seconds, [10, 20, 30]);
    let outlet = StoredChunks::default();
    run(options(true, OnGap::Resync), vec![stream(None, &script([]), table(&[1]))], &outlet, &mut env(35));
    assert_eq!(heartbeats(&outlet), [Value::Null; 0]);
}

#[test]
fn a_heartbeat_has_the_totals_the_queue_and_the_line_that_each_sink_delivers_next() {
    let source = script([Scripted::New(2), Scripted::Destroy(2), Scripted::Lost(Some(4))]);
    source.0.lock().unwrap().queue.used = 7;
    let (outlet, mut env) = (StoredChunks::default(), env(25));
    let line = |stream: &str, seq| Some(WaitingLine { stream: stream.into(), seq, written_after: None });
    let sink = |name: &str, oldest| SinkState { name: name.into(), oldest, ..SinkState::default() };
    env.sinks = vec![sink("a", line("test", 1000)), sink("b", line("earlier", 1000)), sink("c", line("test", 1))];
    run(every(10), vec![stream(None, &source, table(&[1]))], &outlet, &mut env);
    let found = heartbeats(&outlet);
    let last = &found[1];
    let keys = ["received", "matched", "lost", "entries", "namespaces", "buffer_used_bytes"];
    assert_eq!(keys.map(|key| last[key].as_u64().unwrap()), [2, 2, 4, 1, 1, 7]);
    assert_eq!(last["records"].as_u64().unwrap() + 1, last["seq"].as_u64().unwrap());
    // A line behind the first heartbeat was written after it.
    let dated: Vec<_> = last["sinks"].as_array().unwrap().iter().map(|sink| &sink["oldest_after_ns"]).collect();
    assert_eq!(dated, [&found[0]["time_ns"], &Value::Null, &Value::Null]);
}

#[test]
fn while_no_sink_takes_a_full_chunk_heartbeats_wait_and_take_no_memory() {
    let (source, outlet) = (script((1..=u16::MAX).map(Scripted::New)), StoredChunks::default());
    let (mut env, is_blocked) = (env(300), Arc::clone(&outlet.1));
    *is_blocked.lock().unwrap() = true;
    env.on_sleep = Box::new(move |now| *is_blocked.lock().unwrap() = now < Duration::from_secs(200));
    run(every(1), vec![stream(None, &source, table(&[]))], &outlet, &mut env);
    let found = heartbeats(&outlet);
    assert!((90..=101).contains(&found.len()), "{}", found.len());
    let first = found[0]["time_ns"].as_u64().unwrap() / 1_000_000_000;
    assert!((200..=201).contains(&first), "{first}");
}

#[test]
fn a_heartbeat_shows_the_sysctls_of_each_namespace_as_they_are_now() {
    let folder = tempfile::tempdir().unwrap();
    let netfilter = Sysctl::at(folder.path());
    for (name, value) in [("events", "1"), ("acct", "0"), ("timestamp", "1")] {
        fs::write(folder.path().join(format!("nf_conntrack_{name}")), value).unwrap();
    }
    let open = |name| netfilter.open_read_only(name).ok();
    let reported = ReportedSysctls { acct: open("nf_conntrack_acct"), timestamp: open("nf_conntrack_timestamp") };
    let blue = stream(Some("blue"), &script([]), table(&[]))
        .with_event_sysctl(open("nf_conntrack_events"))
        .with_reported_sysctls(reported);
    let (outlet, mut env, path) = (StoredChunks::default(), env(25), folder.path().join("nf_conntrack_events"));
    env.on_sleep = Box::new(move |now| {
        if now > Duration::from_secs(12) {
            fs::write(&path, "0").unwrap();
        }
    });
    run(every(10), vec![blue, stream(Some("red"), &script([]), table(&[]))], &outlet, &mut env);
    let found = heartbeats(&outlet);
    let unknown = serde_json::json!({"namespaces": 1, "netns": ["red"]});
    for (record, events) in found.iter().zip([1, 0]) {
        let known = serde_json::json!({"namespaces": 1, "nf_conntrack_events": events, "nf_conntrack_acct": 0,
            "nf_conntrack_timestamp": 1, "netns": ["blue"]});
        assert_eq!(record["sysctls"], serde_json::json!([unknown, known]));
    }
    assert_eq!(found.len(), 2);
}
