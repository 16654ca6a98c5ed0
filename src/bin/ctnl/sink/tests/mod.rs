//! Streams to real files, sockets and spools.
//!
//! - `remotes`: receivers that disconnect and return
//! - `spools`: spools over restarts, and at their limit
//! - `damage`: spools on a failing disk
//! - `ends`: what a run leaves in the spool at its end
//! - `kept`: lines that are kept after they were acknowledged
//! - `surveys`: spools that are read without being changed
//! - `files`: rotation, SIGHUP, pipes
//! - `compressed`: rotated files that are compressed
//! - `disk`: a full disk
//! - `datagrams`: UDP
//! - `tls`: servers with TLS
//! - `specs`: the argument of `--to`

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[cfg(feature = "zstd")]
mod compressed;
mod damage;
mod datagrams;
mod disk;
mod ends;
mod files;
mod kept;
mod remotes;
mod specs;
mod spools;
mod surveys;
#[cfg(feature = "tls")]
mod tls;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ctnl::clock::Time;

use super::*;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A time in ns for tests that do not depend on it.
const NOW: u64 = 1 << 61;

/// Options with a clock whose real time advances by one second at each reading.
fn options() -> SinkOptions {
    let time = AtomicU64::new(0);
    SinkOptions {
        queue_max: 1 << 20,
        spool: None,
        spool_max: 1 << 20,
        spool_keep: None,
        rotation: Rotation { size: None, every: None, keep: 1 },
        compression: None,
        sync: SyncPolicy::Rotate,
        syslog: SyslogHeader { facility: 3, severity: 6, app: "ctnl".into(), host: "h".into() },
        nats_credentials: None,
        tls: TlsFiles::default(),
        header: Arc::default(),
        is_own_line: Arc::new(|line| line.starts_with(b"s ") || line == b"head"),
        clock: Clock::from_fn(move || Time {
            monotonic: Clock::system().now().monotonic,
            realtime: Nanos(time.fetch_add(Nanos::PER_SECOND, Ordering::Relaxed)),
        }),
        format_gap: Arc::new(|gap| format!("{} gap {} {} {:?}\n", gap.stream, gap.first, gap.lines, gap.cause).into()),
    }
}

/// A folder in memory, where there is one: these tests synchronise some ten thousand files.
fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn spooling(folder: &Path, max: u64) -> SinkOptions {
    SinkOptions { spool: Some(folder.to_owned()), spool_max: max, ..options() }
}

/// A chunk of lines `STREAM NUMBER`.
fn chunk_of(stream: &str, first: u64, lines: u32) -> Arc<Chunk> {
    let bytes = (first..first + u64::from(lines)).map(|number| format!("{stream} {number}\n")).collect::<String>();
    Arc::new(Chunk { stream: stream.into(), first, lines, bytes: bytes.into() })
}

fn chunk(first: u64, lines: u32) -> Arc<Chunk> {
    chunk_of("s", first, lines)
}

/// The lines with these numbers.
fn lines(stream: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("{stream} {number}")).collect()
}

fn open(spec: &str, options: &SinkOptions) -> Sinks {
    Sinks::open(&[spec.parse().unwrap()], options).unwrap()
}

fn finish(mut sinks: Sinks) -> Vec<Undelivered> {
    sinks.finish(LONG)
}

/// Waits until `condition` holds.
#[track_caller]
fn until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "timeout");
        thread::sleep(Duration::from_millis(2));
    }
}

fn until_delivered(sinks: &Sinks, lines: u64) {
    until(|| sinks.statistics().iter().all(|statistics| statistics.delivered >= lines));
}

fn until_down(sinks: &Sinks) {
    until(|| sinks.statistics().iter().all(|statistics| statistics.down_since.is_some()));
}

/// A sink that is down and has a spool is not waited for at the end.
fn until_up(sinks: &Sinks) {
    until(|| sinks.statistics().iter().all(|statistics| statistics.down_since.is_none()));
}

/// Checks that each number from 1 on is a line or covered by a gap, in order. Returns the last
/// number, and how many are missing.
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
