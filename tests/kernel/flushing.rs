//! The flush pipeline deletes exactly the chosen entries while the table changes.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ctnl::model::Flow;
use ctnl::table::{self, Action, DumpRequest, Outcome, Patch, Target};

use ctnl_test_support::deleting::{Deleted, delete_while_dumping};
use ctnl_test_support::harness::{Key, TestNetns, assert_same_entries, by_key, key, tests, udp};

tests![
    a_flush_deletes_the_chosen_entries_and_no_others,
    a_flush_under_concurrent_inserts_and_deletes_is_exact,
    a_stopped_flush_reports_what_it_deleted,
    lowering_timeouts_leaves_every_entry_in_place,
];

/// Chosen by the port, which no request filters by.
fn is_chosen(flow: &Flow) -> bool {
    flow.orig.sport().or(flow.orig.dport()).unwrap_or(0).is_multiple_of(3)
}

fn choose(flow: &Flow) -> Option<Target> {
    is_chosen(flow).then(|| Target::of(flow).expect("a target"))
}

fn flush(netns: &TestNetns, action: Action, choose: impl FnMut(&Flow) -> Option<Target>) -> Deleted {
    let (dumper, actor) = (&mut netns.connection(), netns.connection());
    let flush = delete_while_dumping(dumper, actor, DumpRequest::default(), action, choose, |_| true);
    assert!(flush.error.is_none(), "{flush:?}");
    flush
}

fn a_flush_deletes_the_chosen_entries_and_no_others(netns: &TestNetns) {
    let flows = netns.fill(21, 6_000);
    let flush = flush(netns, Action::Delete, choose);
    let (chosen, rest): (Vec<Flow>, Vec<Flow>) = flows.into_iter().partition(is_chosen);
    assert_eq!(flush.outcome, Outcome { done: chosen.len() as u64, ..Outcome::default() });
    // A bucket whose cursor entry was deleted is sent again: counted once.
    assert_eq!(flush.dump.entries, 6_000);
    assert_same_entries(&netns.dump(), &rest);
}

fn a_flush_under_concurrent_inserts_and_deletes_is_exact(netns: &TestNetns) {
    const ROUNDS: u16 = 40;
    const PER_ROUND: u16 = 100;
    let flows = netns.fill(22, 8_000);
    let (mut inserting, mut deleting) = (netns.connection(), netns.connection());
    // Every tenth of the entries that are not chosen is deleted concurrently by another connection.
    let outsiders = |flow: &Flow| !is_chosen(flow) && flow.orig.sport().is_some_and(|port| port.is_multiple_of(10));
    let disturbed: Vec<Target> =
        netns.dump().iter().filter(|flow| outsiders(flow)).map(|flow| Target::of(flow).unwrap()).collect();
    let handed_over: Mutex<HashSet<Key>> = Mutex::default();
    let finished = AtomicBool::new(false);
    let (flush, inserted, deleted) = thread::scope(|scope| {
        let inserter = scope.spawn(|| {
            let mut outcome = Outcome::default();
            for round in 0..ROUNDS {
                let batch: Vec<Flow> = (0..PER_ROUND).map(|place| udp(20_000 + round, 1 + place)).collect();
                table::create(&mut inserting, &batch, &mut outcome).unwrap();
            }
            outcome
        });
        let deleter = scope.spawn(|| {
            let mut outcome = Outcome::default();
            for part in disturbed.chunks(20) {
                table::delete(&mut deleting, part, &mut outcome).unwrap();
            }
            finished.store(true, Ordering::Relaxed);
            outcome
        });
        let flush = flush(netns, Action::Delete, |flow| {
            let target = choose(flow)?;
            handed_over.lock().unwrap().insert(key(flow));
            Some(target)
        });
        (flush, inserter.join().unwrap(), deleter.join().unwrap())
    });
    assert!(finished.into_inner());
    assert_eq!(inserted.done, u64::from(ROUNDS * PER_ROUND));
    assert_eq!(deleted, Outcome { done: disturbed.len() as u64, ..Outcome::default() });

    let handed_over = handed_over.into_inner().unwrap();
    let left = netns.dump();
    let left_keys = by_key(&left);
    assert_eq!(flush.outcome.done + flush.outcome.gone, handed_over.len() as u64, "{flush:?}");
    assert_eq!(flush.outcome.failures() + flush.outcome.unanswered, 0);
    assert!(handed_over.iter().all(|key| !left_keys.contains_key(key)), "what was handed over is gone");
    for flow in &flows {
        // An entry that was there all the time is seen, and stays if not chosen.
        assert_eq!(left_keys.contains_key(&key(flow)), !is_chosen(flow) && !outsiders(flow), "{flow:?}");
    }
    let total = flows.len() as u64 + inserted.done - deleted.done - flush.outcome.done;
    assert_eq!(left.len() as u64, total);
}

fn a_stopped_flush_reports_what_it_deleted(netns: &TestNetns) {
    netns.fill(23, 5_000);
    let (dumper, actor) = (&mut netns.connection(), netns.connection());
    let all = |flow: &Flow| Some(Target::of(flow).expect("a target"));
    let request = DumpRequest::default();
    let flush = delete_while_dumping(dumper, actor, request, Action::Delete, all, |chosen| chosen < 1_000);
    assert!(flush.error.is_none());
    assert!((1_000..2_000).contains(&flush.outcome.done), "{flush:?}");
    assert_eq!(netns.dump().len() as u64, 5_000 - flush.outcome.done);
    assert_eq!(table::count(dumper).unwrap().entries as u64, 5_000 - flush.outcome.done);
}

fn lowering_timeouts_leaves_every_entry_in_place(netns: &TestNetns) {
    let flows = netns.fill(24, 2_000);
    let chosen = flows.iter().filter(|flow| is_chosen(flow)).count() as u64;
    let flush = flush(netns, Action::Update(Patch::timeout(120)), choose);
    assert_eq!(flush.outcome, Outcome { done: chosen, ..Outcome::default() });
    let dumped = netns.dump();
    assert_same_entries(&dumped, &flows);
    assert!(dumped.iter().all(|flow| (flow.timeout <= Some(120)) == is_chosen(flow)));
}
