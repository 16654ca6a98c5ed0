//! Several namespaces.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::*;

/// The same source with a descriptor that is readable for each byte that is written into the socket.
fn watched(script: Script) -> (Script, UnixStream) {
    let (reader, writer) = UnixStream::pair().unwrap();
    reader.set_nonblocking(true).unwrap();
    (Script(script.0, Some(Arc::new(reader))), writer)
}

#[test]
fn the_entries_of_a_namespace_appear_are_renamed_and_vanish_with_it() {
    let (first, second) = (script([]), script([]));
    let (outlet, mut env) = (StoredChunks::default(), env(5));
    let at = Duration::from_secs;
    env.changes = vec![
        (at(1), NamespaceChange::Appeared(Box::new(stream(Some("b"), &second, table(&[2])).with_inode(7)))),
        (at(2), NamespaceChange::Renamed(vec![(7, "c".into())])),
        (at(3), NamespaceChange::Vanished(7)),
    ];
    run(options(true, OnGap::Resync), vec![stream(Some("a"), &first, table(&[1]))], &outlet, &mut env);
    let expected = [
        "open",
        "new 1 seed a",
        "resync seed a",
        "new 2 seed b",
        "resync seed b",
        // The name is part of the key.
        "destroy 2 netns b",
        "new 2 netns c",
        "destroy 2 netns c",
        "close 0",
    ];
    assert_eq!(outlet.story(), expected);
    assert!(second.0.lock().unwrap().is_unsubscribed && first.0.lock().unwrap().is_unsubscribed);
    let reads = second.0.lock().unwrap().reads;
    assert!(reads > 0 && first.0.lock().unwrap().reads > reads);
}

#[test]
fn the_events_of_a_namespace_that_appears_right_before_the_end_are_written() {
    let (first, second) = (script([]), script([Scripted::New(9)]));
    let (outlet, mut env) = (StoredChunks::default(), env(2));
    let appeared = stream(Some("b"), &second, table(&[])).with_inode(7);
    env.changes = vec![(Duration::from_secs(2), NamespaceChange::Appeared(Box::new(appeared)))];
    run(options(true, OnGap::Resync), vec![stream(Some("a"), &first, table(&[]))], &outlet, &mut env);
    assert_eq!(outlet.story(), ["open", "resync seed a", "new 9 b", "close 0"]);
}

#[test]
fn two_namespaces_that_swap_their_names_leave_the_reader_with_the_entries_of_both() {
    let (first, second) = (script([]), script([Scripted::New(4)]));
    let (outlet, mut env) = (StoredChunks::default(), env(3));
    let names = vec![(7, "b".into()), (8, "a".into())];
    env.changes = vec![(Duration::from_secs(1), NamespaceChange::Renamed(names))];
    let streams = vec![
        stream(Some("a"), &first, table(&[1, 2])).with_inode(7),
        stream(Some("b"), &second, table(&[2, 3, 4])).with_inode(8),
    ];
    run(options(true, OnGap::Resync), streams, &outlet, &mut env);
    let mut set = std::collections::BTreeSet::new();
    for record in outlet.records() {
        let key = || format!("{} {}", record["netns"].as_str().unwrap(), record["flow"]["orig"]["sport"]);
        match record["event"].as_str() {
            Some("new") => assert!(set.insert(key()), "{record}"),
            Some("destroy") => assert!(set.remove(&key()), "{record}"),
            _ => {}
        }
    }
    assert_eq!(set.into_iter().collect::<Vec<_>>(), ["a 2", "a 3", "a 4", "b 1", "b 2"]);
}

#[test]
fn only_queues_that_have_something_are_read_also_during_a_pass() {
    let scripts: Vec<(Script, UnixStream)> = (0..100).map(|_| watched(script([]))).collect();
    let (outlet, mut env) = (StoredChunks::default(), env(3));
    let streams = scripts.iter().enumerate().map(|(number, (script, _))| {
        stream(Some(&format!("{number}")), script, table(&[1, 2, 3])).with_inode(number as u64)
    });
    let (busy, writer) = (scripts[7].0.clone(), scripts[7].1.try_clone().unwrap());
    let mut ports = 1000..1500;
    env.on_sleep = Box::new(move |now| {
        if now >= Duration::from_secs(1)
            && let Some(port) = ports.next()
        {
            busy.0.lock().unwrap().steps.push_back(Scripted::New(port));
            (&writer).write_all(b"x").unwrap();
        }
    });
    run(options(true, OnGap::Resync), streams.collect(), &outlet, &mut env);
    let story = outlet.story();
    assert_eq!(story.iter().filter(|record| record.starts_with("new 1") && record.ends_with(" 7")).count(), 501);
    let reads: Vec<u64> = scripts.iter().map(|(script, _)| script.0.lock().unwrap().reads).collect();
    // At the start, in its pass, after it, and at the end.
    for (number, reads) in reads.iter().enumerate() {
        assert!(number == 7 && *reads > 500 || *reads < 10, "{number}: {reads}");
    }
}

#[test]
fn the_start_of_an_entry_is_after_the_last_time_when_its_queue_was_seen_empty() {
    let (script, writer) = watched(script([]));
    let (outlet, mut env) = (StoredChunks::default(), env(4));
    let state = Arc::clone(&script.0);
    env.on_sleep = Box::new(move |now| {
        let mut state = state.lock().unwrap();
        if now >= Duration::from_secs(3) && state.samples < 1000 {
            state.samples = 1000;
            state.steps.extend([Scripted::New(1), Scripted::Destroy(1)]);
            (&writer).write_all(b"x").unwrap();
        }
    });
    let options = FollowOptions {
        kinds: RecordKinds { destroy: true, ..RecordKinds::default() },
        ..options(false, OnGap::Resync)
    };
    run(options, vec![stream(None, &script, table(&[]))], &outlet, &mut env);
    let records = outlet.records();
    let destroy = records.iter().find(|record| record["event"] == "destroy").unwrap();
    let since = destroy["since_ns"].as_u64().unwrap();
    assert!((2_500_000_000..=3_000_000_000).contains(&since), "{destroy}");
}

#[test]
fn a_stream_whose_only_namespace_has_been_deleted_ends_with_its_entries() {
    let source = script([Scripted::New(1)]);
    let (outlet, mut env) = (StoredChunks::default(), env(60));
    env.changes = vec![(Duration::from_secs(1), NamespaceChange::Vanished(7))];
    let streams = vec![stream(None, &source, table(&[1])).with_inode(7)];
    let end = run(options(true, OnGap::Resync), streams, &outlet, &mut env);
    assert_eq!(end.reason, "deleted");
    assert_eq!(outlet.story(), ["open", "new 1", "resync seed", "destroy 1 netns", "close 0"]);
    assert!(env.now < Duration::from_secs(3));
}

#[test]
fn a_busy_namespace_does_not_keep_the_others_from_being_read() {
    let busy = script((0..20_000).map(Scripted::New));
    let calm = script([Scripted::New(60_000)]);
    let (outlet, mut env) = (StoredChunks::default(), env(1));
    let streams = vec![stream(Some("busy"), &busy, table(&[])), stream(Some("calm"), &calm, table(&[]))];
    run(options(false, OnGap::Continue), streams, &outlet, &mut env);
    let index = outlet.story().iter().position(|record| record == "new 60000 calm").unwrap();
    assert!(index < 5000, "{index}");
}

#[test]
fn events_queued_when_a_namespace_vanishes_precede_its_end_and_another_of_its_name_stays() {
    let (first, second) = (script([Scripted::New(1)]), script([]));
    let (outlet, mut env) = (StoredChunks::default(), env(3));
    let state = Arc::clone(&first.0);
    env.on_sleep = Box::new(move |now| {
        let mut state = state.lock().unwrap();
        if now >= Duration::from_secs(1) && !state.is_unsubscribed && state.steps.is_empty() && state.reads < 1000 {
            state.reads = 1000;
            state.steps.extend([Scripted::Lost(Some(5)), Scripted::New(2)]);
        }
    });
    env.changes = vec![(Duration::from_millis(1100), NamespaceChange::Vanished(7))];
    let streams =
        vec![stream(Some("a"), &second, table(&[])).with_inode(8), stream(Some("a"), &first, table(&[])).with_inode(7)];
    let options =
        FollowOptions { reconcile: Reconcile::Every(Duration::from_secs(60)), ..options(false, OnGap::Continue) };
    let end = run(options, streams, &outlet, &mut env);
    let story = outlet.story();
    let expected = ["gap 5 a", "new 2 a", "destroy 1 netns a", "destroy 2 netns a", "close 5"];
    let mut last = story[story.len() - 5..].to_vec();
    last[2..4].sort();
    assert_eq!(last, expected, "{story:?}");
    assert_eq!((end.totals.received, end.totals.lost), (2, 5));
    assert!(second.0.lock().unwrap().reads > first.0.lock().unwrap().reads - 1000);
}

#[test]
fn a_socket_that_fails_ends_its_namespace_alone() {
    let (broken, sound) = (script([Scripted::New(1)]), script([]));
    let (outlet, mut env) = (StoredChunks::default(), env(3));
    let states = [Arc::clone(&broken.0), Arc::clone(&sound.0)];
    env.on_sleep = Box::new(move |now| {
        if now >= Duration::from_secs(1) && !states[0].lock().unwrap().is_broken {
            states[0].lock().unwrap().is_broken = true;
            states[1].lock().unwrap().steps.push_back(Scripted::New(2));
        }
    });
    let streams = vec![stream(Some("a"), &broken, table(&[])), stream(Some("b"), &sound, table(&[]))];
    run(options(false, OnGap::Resync), streams, &outlet, &mut env);
    let mut story = outlet.story();
    story.sort();
    assert_eq!(story, ["close 0", "destroy 1 netns a", "gap a", "new 1 a", "new 2 b", "open"]);
}

#[test]
fn an_end_that_fails_is_recorded_and_the_other_namespaces_are_read_to_their_end() {
    let (failing, sound) = (script([]), script([]));
    let (outlet, mut env) = (StoredChunks::default(), env(1));
    failing.0.lock().unwrap().fails_to_unsubscribe = true;
    let state = Arc::clone(&sound.0);
    env.on_sleep = Box::new(move |now| {
        if now >= Duration::from_secs(1) {
            state.lock().unwrap().steps.push_back(Scripted::New(2));
        }
    });
    let streams = vec![stream(Some("a"), &failing, table(&[])), stream(Some("b"), &sound, table(&[]))];
    let error = try_run(options(false, OnGap::Resync), streams, &outlet, &mut env).unwrap_err();
    assert!(error.to_string().contains("end the subscription"), "{error}");
    assert!(sound.0.lock().unwrap().is_unsubscribed);
    assert_eq!(outlet.story(), ["open", "new 2 b", "close 0"]);
    assert_eq!(outlet.records()[2]["reason"], "error");
}

#[test]
fn a_dump_that_fails_does_not_end_the_other_namespaces() {
    let (failing, sound) = (script([]), script([]));
    let (outlet, mut env) = (StoredChunks::default(), env(3));
    // An answer without an end: nothing more is to come.
    let refused = Connection::fake(|_| Vec::new());
    let streams = vec![stream(Some("a"), &failing, refused), stream(Some("b"), &sound, table(&[2]))];
    run(options(true, OnGap::Resync), streams, &outlet, &mut env);
    assert_eq!(outlet.story(), ["open", "new 2 seed b", "resync seed b", "close 0"]);
}
