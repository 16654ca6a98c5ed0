//! `--flows=both`.

use super::*;

fn both() -> FollowOptions {
    let kinds = RecordKinds { flows: true, begins: true, ..RecordKinds::default() };
    FollowOptions { kinds, ..options(true, OnGap::Resync) }
}

/// What happened to each connection: its records and their causes.
fn story(outlet: &StoredChunks) -> Vec<String> {
    let describe = |record: &Value| {
        let words = ["event", "sport", "synthetic", "since"].map(|key| record[key].to_string().replace('"', ""));
        words.into_iter().filter(|word| word != "null").collect::<Vec<_>>().join(" ")
    };
    let records = outlet.records();
    records.iter().filter(|record| record["event"] == "begin" || record["event"] == "end").map(describe).collect()
}

#[test]
fn each_connection_has_one_begin_record_and_one_end_record() {
    use Scripted::{Destroy, New};
    let (source, outlet) = (script([New(2), New(3), Destroy(3)]), StoredChunks::default());
    // 2 is in the dump of the start too.
    run(both(), vec![stream(None, &source, table(&[1, 2]))], &outlet, &mut env(5));
    assert_eq!(story(&outlet), ["begin 2", "begin 3", "end 3 after", "begin 1 seed before"]);
}

#[test]
fn a_connection_that_a_dump_contains_began_before_and_says_so() {
    let (source, outlet) = (script([]), StoredChunks::default());
    run(both(), vec![stream(None, &source, table(&[1]))], &outlet, &mut env(5));
    assert_eq!(story(&outlet), ["begin 1 seed before"]);
    let (source, outlet) = (script([Scripted::New(1), Scripted::Lost(Some(3))]), StoredChunks::default());
    let options = FollowOptions { seed: false, ..both() };
    run(options, vec![stream(None, &source, table(&[1, 2]))], &outlet, &mut env(20));
    // 1 has had its record.
    assert_eq!(story(&outlet), ["begin 1", "begin 2 resync before"]);
}

#[test]
fn a_connection_whose_end_may_have_been_read_before_its_beginning_has_no_begin_record() {
    let (source, outlet) = (script([Scripted::Destroy(1), Scripted::Dying(1)]), StoredChunks::default());
    run(both(), vec![stream(None, &source, table(&[]))], &outlet, &mut env(5));
    assert_eq!(story(&outlet), ["end 1"]);
}

#[test]
fn without_both_there_is_no_begin_record() {
    let (source, outlet) = (script([Scripted::New(1)]), StoredChunks::default());
    let options = FollowOptions { kinds: RecordKinds { begins: false, ..both().kinds }, ..both() };
    run(options, vec![stream(None, &source, table(&[1]))], &outlet, &mut env(5));
    assert_eq!(story(&outlet), [""; 0]);
}
