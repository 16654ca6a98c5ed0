//! Streams to real files, sockets and spools.
//!
//! - `remotes`: receivers that go away and come back
//! - `spools`: what waits on disk, over restarts, full
//! - `damage`: what a disk does not give back
//! - `ends`: what the end of a run leaves to the next one
//! - `files`: rotation, SIGHUP, pipes
//! - `disk`: a disk that is full, and has room again

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod damage;
mod disk;
mod ends;
mod files;
mod remotes;
mod spools;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// Nanoseconds, where it does not matter.
const NOW: u64 = 1 << 61;

/// Options with a clock that goes on by one second at each look.
fn options() -> Options {
    let time = AtomicU64::new(0);
    Options {
        queue_max: 1 << 20,
        spool: None,
        spool_max: 1 << 20,
        rotation: Rotation { size: None, every: None, keep: 1 },
        sync: Synchronise::Rotate,
        syslog: Syslog { facility: 3, severity: 6, app: "ctnl".into(), host: "h".into() },
        nats_credentials: None,
        header: Arc::default(),
        clock: Arc::new(move || time.fetch_add(1_000_000_000, Ordering::Relaxed)),
        gap_line: Arc::new(|gap| format!("{} gap {} {} {:?}\n", gap.stream, gap.first, gap.lines, gap.cause).into()),
    }
}

fn spooling(folder: &Path, max: u64) -> Options {
    Options { spool: Some(folder.to_owned()), spool_max: max, ..options() }
}

/// Lines `stream number`, from `first` on.
fn chunk_of(stream: &str, first: u64, lines: u32) -> Arc<Chunk> {
    let bytes = (first..first + u64::from(lines)).map(|number| format!("{stream} {number}\n")).collect::<String>();
    Arc::new(Chunk { stream: stream.into(), first, lines, bytes: bytes.into() })
}

fn chunk(first: u64, lines: u32) -> Arc<Chunk> {
    chunk_of("s", first, lines)
}

/// The lines of some numbers.
fn lines(stream: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("{stream} {number}")).collect()
}

fn open(word: &str, options: &Options) -> Sinks {
    Sinks::open(&[word.parse().unwrap()], options).unwrap()
}

fn finish(mut sinks: Sinks) -> Vec<Undelivered> {
    sinks.finish(Instant::now() + LONG)
}

/// Waits until `condition` holds.
#[track_caller]
fn until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain");
        thread::sleep(Duration::from_millis(2));
    }
}

fn until_delivered(sinks: &Sinks, lines: u64) {
    until(|| sinks.statistics().iter().all(|statistics| statistics.delivered >= lines));
}

fn until_down(sinks: &Sinks) {
    until(|| sinks.statistics().iter().all(|statistics| statistics.down_since.is_some()));
}

/// A spool takes what a place that is down did not get, so that the end does not wait for it.
fn until_up(sinks: &Sinks) {
    until(|| sinks.statistics().iter().all(|statistics| statistics.down_since.is_none()));
}

/// How many lines there are from 1 on, each in its place or counted there by a gap, and how
/// many are missing.
fn account(received: &[String]) -> (u64, u64) {
    let (mut next, mut missing) = (1, 0);
    for line in received {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["s", number] => {
                assert_eq!(number.parse(), Ok(next));
                next += 1;
            }
            ["s", "gap", first, count, _] => {
                assert_eq!(first.parse(), Ok(next));
                next += count.parse::<u64>().unwrap();
                missing += count.parse::<u64>().unwrap();
            }
            _ => panic!("{line}"),
        }
    }
    (next - 1, missing)
}

fn read(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "torn: {:?}", text.lines().last());
    text.lines().map(str::to_owned).collect()
}
