//! Entries that send no events.

use ctnl::model::Flow;
use ctnl::sysctl::Setting;

use super::*;

/// The entries of these ports, with this timeout.
fn timed(ports: &[u16], timeout: u32) -> Vec<Flow> {
    ports.iter().map(|port| Flow { timeout: Some(timeout), ..flow(*port) }).collect()
}

fn automatic(kinds: RecordKinds) -> FollowOptions {
    FollowOptions { kinds, reconcile: Reconcile::Auto, ..options(true, OnGap::Resync) }
}

fn flows() -> RecordKinds {
    RecordKinds { flows: true, ..RecordKinds::default() }
}

/// The seconds at which the table was compared.
fn reconciled_at(outlet: &StoredChunks) -> Vec<u64> {
    let records = outlet.records();
    let resyncs = records.iter().filter(|record| record["event"] == "resync" && record["reason"] == "reconcile");
    resyncs.map(|record| record["time_ns"].as_u64().unwrap() / 1_000_000_000).collect()
}

#[test]
fn an_entry_that_ended_without_an_event_is_reported_when_all_such_entries_can_have_expired() {
    for (kinds, end) in [(flows(), "end reconcile"), (options(true, OnGap::Resync).kinds, "destroy 1 reconcile")] {
        let dumps = vec![timed(&[1, 2], 29), timed(&[2], 432_000)];
        let source = script([]);
        let (outlet, mut env) = (StoredChunks::default(), env(700));
        run(automatic(kinds), vec![stream(None, &source, fake::changing_table(dumps))], &outlet, &mut env);
        let story = outlet.story();
        assert_eq!(story.iter().filter(|record| *record == end).count(), 1, "{story:?}");
        // The one that is left can end at any time, too.
        assert_eq!(reconciled_at(&outlet), [30, 630]);
        assert_eq!(env.silent, [2, 1, 1]);
    }
}

#[test]
fn nothing_is_compared_where_reconciliation_is_off_or_every_entry_has_had_an_event() {
    for (reconcile, events) in [(Reconcile::Off, vec![]), (Reconcile::Auto, vec![Scripted::New(1)])] {
        let source = script(events);
        let (outlet, mut env) = (StoredChunks::default(), env(700));
        let options = FollowOptions { reconcile, ..automatic(flows()) };
        run(options, vec![stream(None, &source, table(&[1]))], &outlet, &mut env);
        assert!(reconciled_at(&outlet).is_empty(), "{reconcile:?}");
        assert!(env.silent.is_empty(), "{:?}", env.silent);
    }
}

/// A sysctl with this value, and its file.
fn sysctl(value: u8) -> (tempfile::TempDir, Option<Setting>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("events"), format!("{value}\n")).unwrap();
    let setting = Sysctl::at(folder.path()).open_read_only("events").unwrap();
    (folder, Some(setting))
}

#[test]
fn where_the_sysctl_says_that_every_entry_sends_events_it_is_compared_more_and_more_seldom() {
    let (_folder, setting) = sysctl(1);
    let source = script([]);
    let (outlet, mut env) = (StoredChunks::default(), env(5000));
    let stream = stream(None, &source, fake::changing_table(vec![timed(&[1], 432_000)]));
    run(automatic(flows()), vec![stream.with_event_sysctl(setting)], &outlet, &mut env);
    assert_eq!(reconciled_at(&outlet), [600, 1800, 4200]);
    assert!(env.silent.is_empty(), "it is no news");
}

#[test]
fn events_that_are_switched_off_are_a_gap_and_another_one_when_they_are_on_again_with_a_resync() {
    let (folder, setting) = sysctl(2);
    let source = script([]);
    let (outlet, mut env) = (StoredChunks::default(), env(20));
    let file = folder.path().join("events");
    env.on_sleep = Box::new(move |now| {
        let is_off = (3..11).contains(&now.as_secs());
        std::fs::write(&file, if is_off { "0\n" } else { "1\n" }).unwrap();
    });
    let kernel = fake::changing_table(vec![timed(&[5], 9), timed(&[5, 6], 9)]);
    let stream = stream(None, &source, kernel).with_event_sysctl(setting);
    run(options(false, OnGap::Resync), vec![stream], &outlet, &mut env);
    let expected = ["open", "gap", "new 5 resync", "resync resync", "gap", "new 6 resync", "resync resync", "close 0"];
    assert_eq!(outlet.story(), expected);
    let records = outlet.records();
    let gaps: Vec<&Value> = records.iter().filter(|record| record["event"] == "gap").collect();
    assert!(gaps.iter().all(|gap| gap["cause"] == "disabled" && gap.get("lost").is_none()), "{gaps:?}");
    let seconds = |gap: &Value, name: &str| gap[name].as_u64().unwrap() / 1_000_000_000;
    assert_eq!((seconds(gaps[0], "from_ns"), seconds(gaps[0], "to_ns")), (2, 4));
    assert_eq!((&gaps[1]["from_ns"], seconds(gaps[1], "to_ns")), (&gaps[0]["to_ns"], 12));
    assert_eq!(records.last().unwrap()["uncounted_losses"], 0);
}

#[test]
fn a_stream_that_begins_while_events_are_off_begins_with_a_gap() {
    let (_folder, setting) = sysctl(0);
    let source = script([]);
    let (outlet, mut env) = (StoredChunks::default(), env(3));
    let stream = stream(None, &source, table(&[1])).with_event_sysctl(setting);
    run(options(true, OnGap::Resync), vec![stream], &outlet, &mut env);
    assert_eq!(outlet.story()[..2], ["open", "gap"]);
}
