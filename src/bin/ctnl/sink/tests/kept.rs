//! Lines that are kept after they were acknowledged: for how long, within which limit, and how they come
//! back.

use ctnl::units::Nanos;

use super::deliver::Receipt;
use super::queue::Item;
use super::*;

const LIMIT: u64 = 8 * 200;
const KEEP: Duration = Duration::from_secs(100);

fn at(second: u64) -> Nanos {
    Nanos(second * Nanos::PER_SECOND)
}

fn spool(folder: &Path, keep: bool, now: u64) -> Spool {
    Spool::open(folder, "x", LIMIT).unwrap().keeping(keep.then_some(KEEP), at(now)).unwrap()
}

fn item(first: u64) -> Item {
    Item::Chunk(chunk(first, 5))
}

fn receipt(first: u64) -> Receipt {
    Receipt { store: "S".into(), first, last: first + 4, stream: "s".into(), line: first + 4 }
}

fn keep(spool: &mut Spool, first: u64, now: u64) {
    spool.keep(&item(first), Some(&receipt(first)), at(now)).unwrap();
}

/// The receipts of what is kept, oldest first.
fn kept(spool: &Spool) -> Vec<u64> {
    let segments = spool.kept_segments().into_iter();
    segments.flat_map(|number| spool.kept_receipts(number).unwrap()).map(|(_, receipt)| receipt.first).collect()
}

/// Moves what is kept from the item of line `first` on back.
fn restore(spool: &mut Spool, first: u64) -> u64 {
    for number in spool.kept_segments() {
        for (offset, receipt) in spool.kept_receipts(number).unwrap() {
            if receipt.first == first {
                return spool.restore(number, offset).unwrap();
            }
        }
    }
    panic!("line {first} is not kept");
}

/// Delivers everything: the first line of each item, and how many lines are missing.
fn deliver(spool: &mut Spool) -> (Vec<u64>, u64) {
    let (mut firsts, mut missing) = (Vec::new(), 0);
    while let Some(item) = spool.peek(NOW).unwrap() {
        match &item {
            Item::Chunk(_) => firsts.push(item.first()),
            Item::Gap(gap) => missing += gap.lines,
        }
        spool.advance();
    }
    (firsts, missing)
}

#[test]
fn lines_are_kept_for_the_time_and_not_much_longer_but_only_while_lines_are_acknowledged() {
    let folder = temporary();
    let mut spool = spool(folder.path(), true, 0);
    for second in 0..300 {
        keep(&mut spool, 1 + 5 * second, second);
        let kept = kept(&spool);
        let oldest = (kept[0] - 1) / 5;
        assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 5));
        // The limit of the spool is reached at twenty items.
        assert!(second - oldest <= 130 && (second < 5 || second - oldest >= 5), "{second} {oldest}");
    }
    let before = kept(&spool);
    drop(spool);
    // While the destination is down nothing expires, nor at a restart.
    let mut spool = self::spool(folder.path(), true, 10_000);
    assert_eq!(kept(&spool), before);
    assert_eq!(spool.newest_receipt().flatten(), Some(receipt(*before.last().unwrap())));
    spool.expire_kept(at(10_101));
    assert_eq!(kept(&spool), [] as [u64; 0]);
}

#[test]
fn kept_lines_give_way_to_lines_that_wait_and_both_are_within_the_limit() {
    let folder = temporary();
    let mut spool = spool(folder.path(), true, 0);
    let size = |folder: &Path| -> u64 {
        let folders = [folder.join("x"), folder.join("x/kept")];
        let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
        files.filter(|file| file.path().extension().is_some()).map(|file| file.metadata().unwrap().len()).sum()
    };
    (0..40).for_each(|number| keep(&mut spool, 1 + 5 * number, 0));
    assert!(!kept(&spool).is_empty() && size(folder.path()) <= LIMIT + 200);
    let mut next = 201;
    while spool.append(&item(next)).is_ok() {
        next += 5;
        assert!(size(folder.path()) <= LIMIT + 200, "{}", size(folder.path()));
    }
    assert!(next >= 201 + 5 * 15 && kept(&spool).is_empty(), "{next}");
    // Delivered lines are not kept at the cost of those that wait.
    keep(&mut spool, 1, 0);
    assert_eq!(deliver(&mut spool), ((201..next).step_by(5).collect(), 0));
}

#[test]
fn restored_lines_are_delivered_first_once_and_without_a_gap() {
    for (restart, delivered) in [(false, 0), (false, 2), (true, 0)] {
        let folder = temporary();
        let mut spool = spool(folder.path(), true, 0);
        (0..8).for_each(|number| keep(&mut spool, 1 + 5 * number, 0));
        // Another segment.
        keep(&mut spool, 41, 60);
        keep(&mut spool, 46, 60);
        for first in [51, 56, 61, 66] {
            spool.append(&item(first)).unwrap();
        }
        for number in 0..delivered {
            spool.peek(NOW).unwrap();
            spool.advance();
            keep(&mut spool, 51 + 5 * number, 60);
        }
        assert!(spool.kept_segments().len() > 1);
        assert!(restore(&mut spool, 16) > 0);
        assert_eq!(kept(&spool), [1, 6, 11]);
        if restart {
            drop(spool);
            spool = self::spool(folder.path(), true, 0);
        }
        assert_eq!(deliver(&mut spool), ((16..71).step_by(5).collect(), 0), "{restart} {delivered}");
        assert_eq!((spool.damaged(), spool.bytes()), (0, 0));
        // It can be kept and lost once more, now with nothing in the spool.
        (3..14).for_each(|number| keep(&mut spool, 1 + 5 * number, 70));
        restore(&mut spool, 46);
        let mut spool = if restart {
            drop(spool);
            self::spool(folder.path(), true, 0)
        } else {
            spool
        };
        assert_eq!(deliver(&mut spool), ((46..71).step_by(5).collect(), 0), "{restart} {delivered}");
        assert_eq!(spool.damaged(), 0);
    }
}

#[test]
fn a_run_that_keeps_nothing_restores_what_an_earlier_one_kept_and_then_removes_it() {
    let folder = temporary();
    let mut earlier = spool(folder.path(), true, 0);
    (0..6).for_each(|number| keep(&mut earlier, 1 + 5 * number, 0));
    drop(earlier);
    let mut spool = spool(folder.path(), false, 50);
    assert_eq!(spool.newest_receipt().flatten(), Some(receipt(26)));
    restore(&mut spool, 21);
    assert_eq!(deliver(&mut spool), (vec![21, 26], 0));
    keep(&mut spool, 21, 51);
    assert_eq!(kept(&spool), [] as [u64; 0]);
    drop(spool);
    assert!(self::spool(folder.path(), false, 60).newest_receipt().is_none());
}

#[test]
fn a_damaged_kept_segment_costs_its_lines_and_no_other() {
    let folder = temporary();
    let mut spool = spool(folder.path(), true, 0);
    (0..6).for_each(|number| keep(&mut spool, 1 + 5 * number, 40 * number));
    let segments = spool.kept_segments();
    let path = folder.path().join("x/kept").join(format!("{:020}.seg", segments[segments.len() - 2]));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    let first = kept(&spool)[0];
    restore(&mut spool, first);
    let (firsts, missing) = deliver(&mut spool);
    assert!(firsts.len() as u64 * 5 + missing == 31 - first && missing <= 5, "{firsts:?} {missing}");
}
