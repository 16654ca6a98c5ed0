//! A survey of a spool finds what a delivery would find, changes nothing, and takes no work in progress
//! for damage.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::queue::Item;
use super::spool::survey::{Damage, Finding, is_spool, spools_below, survey};
use super::*;

/// Small, so that a spool has several segments.
const LIMIT: u64 = 8 * 200;

/// The numbers that wait, those that are missing, and other damage.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    waiting: Vec<u64>,
    missing: Vec<u64>,
    delivered: Vec<u64>,
    damage: Vec<Damage>,
}

fn look(folder: &Path) -> Found {
    let mut found = Found::default();
    let numbers = |item: &Item| item.first()..item.end();
    survey(&folder.join("x"), &mut |finding| {
        match finding {
            Finding::Waiting(item) => found.waiting.extend(numbers(item)),
            Finding::Delivered(item) => found.delivered.extend(numbers(item)),
            Finding::Damage(Damage::Lines { first, count, .. }) => found.missing.extend(first..first + count),
            Finding::Damage(damage) => found.damage.push(damage),
            Finding::Segment { .. } => {}
        }
        true
    })
    .unwrap();
    found
}

fn spool_of(folder: &Path, numbers: std::ops::Range<u64>) -> Spool {
    let mut spool = Spool::open(folder, "x", LIMIT).unwrap();
    for first in numbers.step_by(5) {
        spool.append(&Item::Chunk(chunk(first, 5))).unwrap();
    }
    spool
}

/// Every file of the folder with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(folder.join("x")).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    files(folder).into_keys().filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect()
}

#[test]
fn a_survey_finds_what_waits_and_what_is_delivered_and_changes_nothing() {
    let folder = temporary();
    let mut spool = spool_of(folder.path(), 1..51);
    assert!(is_spool(&folder.path().join("x")) && !is_spool(folder.path()));
    assert_eq!(spools_below(folder.path()).unwrap(), [folder.path().join("x")]);
    for delivered in 0..=10 {
        let before = files(folder.path());
        let found = look(folder.path());
        assert_eq!(found.waiting, (1 + 5 * delivered..51).collect::<Vec<_>>());
        assert!(found.delivered.iter().all(|number| *number <= 5 * delivered), "{found:?}");
        assert!(delivered != 1 || found.delivered == [1, 2, 3, 4, 5], "{found:?}");
        assert_eq!((found.missing.len(), found.damage.len()), (0, 0), "{found:?}");
        assert_eq!(files(folder.path()), before);
        spool.peek(NOW).unwrap();
        spool.advance();
    }
}

#[test]
fn a_survey_finds_each_damaged_byte_and_the_lines_that_are_missing_for_it() {
    let whole = temporary();
    drop(spool_of(whole.path(), 1..51));
    let sizes: Vec<u64> = segments(whole.path()).iter().map(|path| fs::metadata(path).unwrap().len()).collect();
    // Of the last segment only the first frames: without a line behind it, a loss cannot be detected.
    for (index, size) in sizes.iter().take(sizes.len() - 1).enumerate() {
        for at in (0..*size).step_by(7) {
            let folder = temporary();
            let mut spool = spool_of(folder.path(), 1..51);
            let path = &segments(folder.path())[index];
            let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
            let found = look(folder.path());
            let (mut delivered, mut gaps) = (Vec::new(), Vec::new());
            while let Some(item) = spool.peek(NOW).unwrap() {
                let to = if let Item::Gap(_) = item { &mut gaps } else { &mut delivered };
                to.extend(item.first()..item.end());
                spool.advance();
            }
            assert_eq!((found.waiting, found.missing), (delivered, gaps), "byte {at} of {path:?}");
            assert_eq!(found.damage.len(), 1, "byte {at} of {path:?}: {:?}", found.damage);
        }
    }
}

#[test]
fn a_survey_finds_deleted_segments_a_damaged_position_and_a_torn_end() {
    let folder = temporary();
    drop(spool_of(folder.path(), 1..51));
    let paths = segments(folder.path());
    fs::remove_file(&paths[1]).unwrap();
    let found = look(folder.path());
    assert_eq!(found.damage, [Damage::Segments { first: paths[1].clone(), count: 1 }]);
    assert!(!found.missing.is_empty() && found.waiting.len() + found.missing.len() == 50, "{found:?}");
    fs::remove_file(&paths[0]).unwrap();
    let count = (paths.len() - 2) as u64;
    assert!(count > 0 && look(folder.path()).damage == [Damage::Segments { first: paths[0].clone(), count: 2 }]);
    fs::write(folder.path().join("x/position"), "damaged").unwrap();
    let last = &paths[paths.len() - 1];
    let size = fs::metadata(last).unwrap().len();
    OpenOptions::new().write(true).open(last).unwrap().set_len(size - 3).unwrap();
    let found = look(folder.path());
    assert!(
        matches!(&found.damage[..], [Damage::Position, Damage::Bytes { segment, .. }] if segment == last),
        "{found:?}"
    );
}

#[test]
fn what_a_running_program_appends_and_delivers_is_no_damage() {
    let folder = temporary();
    let mut spool = spool_of(folder.path(), 1..6);
    thread::scope(|scope| {
        let path = folder.path();
        let surveys = scope.spawn(|| {
            let mut lines = 0;
            for _ in 0..60 {
                let found = look(path);
                assert_eq!((&found.missing[..], &found.damage[..]), (&[][..], &[][..]));
                // What is delivered between the readings of two segments waits in neither.
                assert!(found.waiting.is_sorted_by(|one, next| one < next), "{found:?}");
                lines += found.waiting.len();
            }
            lines
        });
        let (mut next, mut round) = (6, 0);
        while !surveys.is_finished() {
            round += 1;
            let _ = spool.append(&Item::Chunk(chunk(next, 5))).map(|()| next += 5);
            // Now and then everything is delivered, and the spool begins again.
            for _ in 0..if round % 40 > 20 { 3 } else { 0 } {
                if spool.peek(NOW).unwrap().is_some() {
                    spool.advance();
                }
            }
        }
        assert!(surveys.join().unwrap() > 0);
    });
}
