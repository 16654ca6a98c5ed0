//! Damaged spools: each line is delivered, or a gap with the exact number replaces it, as long as
//! later lines of its stream are readable.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use proptest::prelude::*;

use super::queue::Item;
use super::*;

/// Small, so that a spool has several segments.
const LIMIT: u64 = 8 * 200;

/// Bytes of the last chunk's frame.
const LAST: u64 = 60;

fn spool(folder: &Path) -> Spool {
    Spool::open(folder, "x", LIMIT).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder.join("x")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    files.sort();
    files
}

/// Changes one byte of the concatenated segments.
fn damage(folder: &Path, mut at: u64, flip: u8) {
    for path in files(folder) {
        let size = fs::metadata(&path).unwrap().len();
        if at < size {
            let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ flip], at).unwrap();
            return;
        }
        at -= size;
    }
}

/// A stream of ten chunks of five lines, from `first` on.
fn fill(spool: &mut Spool, stream: &str, first: u64) {
    for first in (first..first + 50).step_by(5) {
        spool.append(&Item::Chunk(chunk_of(stream, first, 5))).unwrap();
    }
}

/// Delivers `max` items: for each line its stream, its number, and whether it is readable.
fn deliver(spool: &mut Spool, max: usize) -> Vec<(String, u64, bool)> {
    let mut seen = Vec::new();
    for _ in 0..max {
        let Some(item) = spool.peek(NOW).unwrap() else { break };
        let (is_there, lines) = match &item {
            Item::Chunk(chunk) => {
                assert_eq!(*chunk, chunk_of(&chunk.stream, chunk.first, chunk.lines), "other lines");
                (true, u64::from(chunk.lines))
            }
            Item::Gap(gap) => {
                assert_eq!(gap.cause, DropCause::Spool);
                assert!(gap.from <= gap.to && gap.to == NOW, "{gap:?}");
                (false, gap.lines)
            }
        };
        seen.extend((item.first()..item.first() + lines).map(|number| (item.stream().to_string(), number, is_there)));
        spool.advance();
    }
    seen
}

fn size(folder: &Path) -> u64 {
    files(folder).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

fn numbers(seen: &[(String, u64, bool)], stream: &str) -> Vec<u64> {
    seen.iter().filter(|(of, ..)| of == stream).map(|(_, number, _)| *number).collect()
}

fn missing(seen: &[(String, u64, bool)]) -> u64 {
    seen.iter().filter(|(_, _, is_there)| !is_there).count() as u64
}

/// Also at the end: the writer has a count of what it wrote.
#[test]
fn a_gap_covers_the_loss_whichever_byte_is_damaged() {
    let whole = temporary();
    fill(&mut spool(whole.path()), "s", 1);
    let all = size(whole.path());
    assert!(files(whole.path()).len() > 1);
    let mut costs = Vec::new();
    for at in 0..all {
        let folder = temporary();
        let mut spool = spool(folder.path());
        fill(&mut spool, "s", 1);
        damage(folder.path(), at, 0x20);
        let seen = deliver(&mut spool, usize::MAX);
        assert_eq!(numbers(&seen, "s"), (1..=50).collect::<Vec<_>>(), "byte {at}");
        assert_eq!(spool.take_unreadable_lines(), missing(&seen), "byte {at}");
        assert_eq!((spool.damaged(), files(folder.path()).len()), (1, 0), "byte {at}");
        costs.push(missing(&seen));
    }
    // Damage in a segment's header loses nothing, anywhere else one chunk.
    assert!(costs.iter().all(|cost| [0, 5].contains(cost)) && costs.contains(&0), "{costs:?}");
}

#[test]
fn of_an_earlier_run_only_its_end_can_be_missing_without_a_gap() {
    for at in 0..1200 {
        let folder = temporary();
        fill(&mut spool(folder.path()), "a", 1);
        let mut spool = spool(folder.path());
        fill(&mut spool, "b", 1);
        damage(folder.path(), at, 0xff);
        let seen = deliver(&mut spool, usize::MAX);
        let a = numbers(&seen, "a");
        assert_eq!(numbers(&seen, "b"), (1..=50).collect::<Vec<_>>(), "byte {at}");
        if a.len() < 50 {
            assert_eq!(spool.damaged(), 1, "byte {at}");
        }
        assert!([45, 50].contains(&a.len()), "byte {at}");
        assert_eq!(a, (1..=a.len() as u64).collect::<Vec<_>>(), "byte {at}");
    }
}

#[test]
fn a_deleted_segment_becomes_a_gap() {
    for (restart, delivered) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        for at in 0..2 {
            let folder = temporary();
            let mut spool = Some(spool(folder.path()));
            fill(spool.as_mut().unwrap(), "s", 1);
            let mut seen = deliver(spool.as_mut().unwrap(), delivered);
            fs::remove_file(&files(folder.path())[at]).unwrap();
            let mut spool = if restart {
                drop(spool.take());
                self::spool(folder.path())
            } else {
                spool.take().unwrap()
            };
            seen.extend(deliver(&mut spool, usize::MAX));
            assert_eq!(numbers(&seen, "s"), (1..=50).collect::<Vec<_>>(), "file {at}, {restart}, {delivered}");
            // An open segment remains readable.
            let is_open = !restart && delivered == 1 && at == 0;
            assert_eq!(missing(&seen) > 0, !is_open, "file {at}, {restart}, {delivered}");
        }
    }
}

/// Also of a stream of which nothing was delivered yet.
#[test]
fn deleted_segments_become_gaps_wherever_a_stream_begins_and_are_reported() {
    for restart in [false, true] {
        let folder = temporary();
        let mut spool = self::spool(folder.path());
        fill(&mut spool, "a", 1);
        let first_of_b = files(folder.path()).len();
        // The lines before were delivered without the spool.
        fill(&mut spool, "b", 101);
        assert!(files(folder.path()).len() > first_of_b + 2);
        let mut seen = if restart { Vec::new() } else { deliver(&mut spool, 2) };
        files(folder.path())[first_of_b..first_of_b + 2].iter().for_each(|path| fs::remove_file(path).unwrap());
        if restart {
            drop(spool);
            spool = self::spool(folder.path());
        }
        seen.extend(deliver(&mut spool, usize::MAX));
        assert_eq!(numbers(&seen, "a"), (1..=50).collect::<Vec<_>>(), "{restart}");
        assert_eq!(numbers(&seen, "b"), (101..=150).collect::<Vec<_>>(), "{restart}");
        assert!(missing(&seen) >= 10 && missing(&seen) < 50 && spool.damaged() > 0, "{restart}");
    }
}

/// Nothing is left that shows how many lines it had.
#[test]
fn a_stream_that_was_deleted_entirely_is_reported_as_damage() {
    for streams in [["a", "b", "c"], ["b", "c", "d"]] {
        let (folder, mut of_b) = (temporary(), Vec::new());
        for stream in streams {
            let mut spool = self::spool(folder.path());
            let before = files(folder.path());
            for first in [1, 6, 11] {
                spool.append(&Item::Chunk(chunk_of(stream, first, 5))).unwrap();
            }
            if stream == "b" {
                of_b = files(folder.path()).into_iter().filter(|path| !before.contains(path)).collect();
            }
        }
        of_b.iter().for_each(|path| fs::remove_file(path).unwrap());
        let mut spool = spool(folder.path());
        let seen = deliver(&mut spool, usize::MAX);
        for stream in streams.into_iter().filter(|stream| *stream != "b") {
            assert_eq!(numbers(&seen, stream), (1..=15).collect::<Vec<_>>());
        }
        assert_eq!((missing(&seen), spool.damaged()), (0, 1));
    }
}

/// A spool whose last chunk is damaged, with all before it delivered.
fn before_the_last_gap(folder: &Path) -> Spool {
    let mut spool = spool(folder);
    fill(&mut spool, "s", 1);
    damage(folder, size(folder) - 3, 1);
    let seen = deliver(&mut spool, 9);
    assert_eq!(seen.last(), Some(&("s".into(), 45, true)));
    assert!(matches!(spool.peek(NOW).unwrap(), Some(Item::Gap(_))));
    spool
}

#[test]
fn a_gap_at_the_end_is_written_for_the_next_run() {
    let folder = temporary();
    let mut spool = before_the_last_gap(folder.path());
    spool.close();
    drop(spool);
    let mut spool = self::spool(folder.path());
    assert_eq!(numbers(&deliver(&mut spool, usize::MAX), "s"), (46..=50).collect::<Vec<_>>());
}

/// The item was in flight when the sink went down, and is delivered from memory.
#[test]
fn a_gap_behind_an_item_in_flight_does_not_include_it() {
    for deleted in [1, 2] {
        let folder = temporary();
        let mut spool = spool(folder.path());
        let first = Item::Chunk(chunk_of("s", 1, 5));
        if deleted == 1 {
            spool.prepend(&first).unwrap();
        }
        fill(&mut spool, "s", 6);
        if deleted == 2 {
            spool.prepend(&first).unwrap();
        }
        files(folder.path()).iter().take(deleted).for_each(|path| fs::remove_file(path).unwrap());
        spool.skip(&first, NOW);
        let seen = deliver(&mut spool, usize::MAX);
        assert_eq!(numbers(&seen, "s"), (6..=55).collect::<Vec<_>>());
        assert!(missing(&seen) >= 5 && missing(&seen) < 50 && spool.take_unreadable_lines() == missing(&seen));
    }
}

#[test]
fn a_gap_at_the_end_is_written_before_an_item_is_prepended() {
    let folder = temporary();
    let mut spool = before_the_last_gap(folder.path());
    spool.prepend(&Item::Chunk(chunk_of("s", 41, 5))).unwrap();
    spool.close();
    drop(spool);
    // The segment behind the prepended one is read from its beginning.
    let mut seen = numbers(&deliver(&mut self::spool(folder.path()), usize::MAX), "s");
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.ends_with(&[45, 46, 47, 48, 49, 50]), "{seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_and_restarts_at_any_time_lose_no_line_without_a_gap(
        bytes in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 0..6),
        // For each run: delivered items, and bytes that are damaged before it.
        runs in prop::collection::vec((0..8_usize, 0..3_usize), 1..6),
    ) {
        let folder = temporary();
        fill(&mut spool(folder.path()), "s", 1);
        let mut seen = Vec::new();
        let mut bytes = bytes.into_iter();
        for (items, count) in runs {
            for (at, flip) in bytes.by_ref().take(count) {
                // Without a readable line behind it, a loss cannot be detected.
                let size = size(folder.path()).saturating_sub(LAST);
                if size > 0 {
                    damage(folder.path(), at.index(size as usize) as u64, flip);
                }
            }
            seen.extend(deliver(&mut spool(folder.path()), items));
        }
        seen.extend(deliver(&mut spool(folder.path()), usize::MAX));
        prop_assert!(seen.iter().map(|(_, number, _)| *number).eq(1..=50), "{:?}", seen);
    }
}
