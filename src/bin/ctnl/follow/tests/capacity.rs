//! Queues and an outlet without capacity.

use super::*;

#[test]
fn it_is_ready_and_reports_statistics_while_the_seed_waits_for_capacity() {
    // More than a chunk; the outlet has capacity after five seconds.
    let ports: Vec<u16> = (1..=3000).collect();
    let source = script([Scripted::New(60_000)]);
    source.0.lock().unwrap().queue.used = 7;
    let (outlet, mut env) = (StoredChunks::default(), env(8));
    let full = Arc::clone(&outlet.1);
    *full.lock().unwrap() = true;
    env.on_sleep = Box::new(move |now| *full.lock().unwrap() = now < Duration::from_secs(5));
    let options = FollowOptions { stats_interval: Some(Duration::from_secs(1)), ..options(true, OnGap::Resync) };
    run(options, vec![stream(None, &source, table(&ports))], &outlet, &mut env);
    assert!(env.is_ready);
    assert_eq!(env.stats.len(), 7, "{:?}", env.stats);
    let (records, entries, queued) = env.stats[0];
    assert!((500..2900).contains(&records), "{records}");
    assert_eq!((entries, queued), (Some(records - 1), 7));
    // Port 60000 was not in the table.
    assert_eq!(env.stats[6], (3004, Some(3000), 7));
    assert_eq!(outlet.records().len(), 3005);
}

#[test]
fn without_capacity_nothing_is_read_and_the_end_does_not_wait_for_it() {
    // Each line is some 300 bytes: this is a few chunks.
    let source = script((0..5000).map(Scripted::New));
    let (outlet, mut env) = (StoredChunks::default(), env(60));
    *outlet.1.lock().unwrap() = true;
    let state = Arc::clone(&source.0);
    let left = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&left);
    env.on_sleep = Box::new(move |_| seen.lock().unwrap().push(state.lock().unwrap().steps.len()));
    let end = run(options(false, OnGap::Continue), vec![stream(None, &source, table(&[]))], &outlet, &mut env);
    let left = left.lock().unwrap();
    assert!(left.first().is_some_and(|left| (3000..4500).contains(left)), "{:?}", left.first());
    assert_eq!(left.first(), left.last());
    assert_eq!((end.totals.received, outlet.records().len()), (5000, 5002));
}

/// The kernel's count of refused events has 32 bits.
#[test]
fn the_queue_of_a_stream_that_waits_for_capacity_is_sampled_every_minute() {
    for seed in [false, true] {
        let source = script((1..20_000).map(Scripted::New));
        let (outlet, mut env) = (StoredChunks::default(), env(200));
        *outlet.1.lock().unwrap() = true;
        // Full, and as large as it may be.
        source.0.lock().unwrap().queue.used = 5_000;
        run(options(seed, OnGap::Resync), vec![stream(None, &source, table(&[]))], &outlet, &mut env);
        let samples = source.0.lock().unwrap().samples;
        assert!((3..300).contains(&samples), "{samples}");
    }
}

#[test]
fn a_queue_that_is_half_full_grows_up_to_the_limit() {
    let source = script([]);
    source.0.lock().unwrap().queue = Queue { used: 600, capacity: 1000, drops: 0 };
    let state = Arc::clone(&source.0);
    let (outlet, mut env) = (StoredChunks::default(), env(2));
    env.on_sleep = Box::new(move |_| {
        let mut state = state.lock().unwrap();
        state.queue.used = state.queue.capacity - 1;
    });
    let options = FollowOptions { buffer_max: 3000, ..options(false, OnGap::Continue) };
    run(options, vec![stream(None, &source, table(&[]))], &outlet, &mut env);
    assert_eq!(source.0.lock().unwrap().requested, [1000, 2000, 3000]);
}
