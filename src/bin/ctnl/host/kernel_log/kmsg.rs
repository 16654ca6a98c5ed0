//! /dev/kmsg: the messages of the kernel since the boot that its buffer still has.
//!
//! Each read(2) returns one record, `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;MESSAGE` (Documentation/ABI/testing/dev-kmsg).
//! A read continues behind what was overwritten meanwhile after the error EPIPE.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use ctnl::clock::Time;
use ctnl::host::Host;
use ctnl::units::Nanos;
use nix::libc;

use super::Interrupted;
use super::message::number;
use super::tally::{Entry, Notices, Tally};

pub const PATH: &str = "/dev/kmsg";

/// A shorter buffer is refused with EINVAL (`devkmsg_read` in kernel/printk/printk.c formats no more than 2048 bytes,
/// older kernels 8192).
const RECORD: usize = 8192;
/// More than the largest buffer has (`CONFIG_LOG_BUF_SHIFT` is 25 at most): the kernel may log faster than this reads.
const MAX_RECORDS: usize = 1 << 20;

/// Reads all records; with what was not read.
///
/// # Errors
/// It cannot be read: why, and what it takes.
pub fn read(
    host: &Host,
    mut tally: Tally,
    is_interrupted: Interrupted<'_>,
) -> Result<(Notices, Vec<String>), Unreadable> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(host.path(PATH));
    let mut file = file.map_err(|error| unreadable(&error, host))?;
    let now = host.clock.now();
    let mut gaps = Vec::new();
    let count = for_each_record(
        |buffer| {
            if is_interrupted() {
                gaps.push("newer messages were not read: interrupted".to_owned());
                return Ok(0);
            }
            file.read(buffer)
        },
        |record| {
            if let Some(entry) = entry(record, now) {
                tally.add(&entry);
            }
        },
    );
    count.map_err(|error| unreadable(&error, host))?;
    Ok((tally.finish(), gaps))
}

/// Why a source was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// This host does not have it.
    Absent,
    /// It exists, and could not be read: why.
    Failed(String),
}

fn unreadable(error: &io::Error, host: &Host) -> Unreadable {
    match error.kind() {
        io::ErrorKind::NotFound => Unreadable::Absent,
        io::ErrorKind::PermissionDenied => {
            let is_restricted = host.kernel().read("dmesg_restrict").is_ok_and(|value| value != 0);
            let why = if is_restricted { " (kernel.dmesg_restrict is 1: it takes CAP_SYSLOG)" } else { "" };
            Unreadable::Failed(format!("{error}{why}"))
        }
        _ => Unreadable::Failed(error.to_string()),
    }
}

/// Calls `visit` with each record that `read` returns, up to the end.
fn for_each_record(
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    mut visit: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; RECORD];
    for _ in 0..MAX_RECORDS {
        match read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => visit(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Records were overwritten before they were read.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The message of a record of the kernel; of one that a program wrote to /dev/kmsg there is none. The time since boot
/// is that of `local_clock`, which is close to CLOCK_MONOTONIC.
fn entry(record: &[u8], now: Time) -> Option<Entry<'_>> {
    /// The lowest three bits are the level.
    const FACILITY: u64 = !7;
    let end = record.iter().position(|byte| *byte == b';')?;
    let (head, message) = (record.get(..end)?, record.get(end + 1..)?);
    let (priority, rest) = number(head)?;
    let (_, rest) = number(rest.strip_prefix(b",")?)?;
    let (microseconds, _) = number(rest.strip_prefix(b",")?)?;
    if priority & FACILITY != 0 {
        return None;
    }
    let boot = now.realtime.since(now.monotonic);
    let time = boot.plus(Nanos(microseconds.saturating_mul(1000)));
    // Lines behind the first are names and values of the device.
    let message = message.split(|byte| *byte == b'\n').next().unwrap_or(message);
    Some(Entry { time: Some(time), host: None, times: 1, message })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::clock::Clock;
    use proptest::prelude::*;

    use super::*;

    fn now() -> Time {
        Time { monotonic: Nanos(100 * Nanos::PER_SECOND), realtime: Nanos(1_000_000 * Nanos::PER_SECOND) }
    }

    #[test]
    fn a_record_has_its_time_and_its_message() {
        let record = b"4,1234,90500000,-,caller=T12;nf_conntrack: table full, dropping packet\n SUBSYSTEM=net\n";
        let entry = entry(record, now()).unwrap();
        assert_eq!(entry.message, b"nf_conntrack: table full, dropping packet");
        assert_eq!(entry.time, Some(Nanos(999_990_500_000_000)));
    }

    #[test]
    fn what_a_program_wrote_to_the_device_is_no_message_of_the_kernel() {
        assert!(entry(b"12,1,5,-;nf_conntrack: table full, dropping packet\n", now()).is_none());
        for record in [&b""[..], b";", b"4;x", b"4,1;x", b"4,1,;x", b"x,1,5,-;x"] {
            assert!(entry(record, now()).is_none());
        }
    }

    #[test]
    fn reading_continues_behind_overwritten_records_and_ends_where_it_would_wait() {
        let mut answers = vec![Err(libc::EAGAIN), Ok(&b"two"[..]), Err(libc::EINTR), Err(libc::EPIPE), Ok(b"one")];
        let mut records = Vec::new();
        let read = |buffer: &mut [u8]| {
            let record = answers.pop().unwrap().map_err(io::Error::from_raw_os_error)?;
            buffer[..record.len()].copy_from_slice(record);
            Ok(record.len())
        };
        for_each_record(read, |record| records.push(record.to_vec())).unwrap();
        assert_eq!(records, [b"one", b"two"]);
        assert!(for_each_record(|_| Err(io::Error::from_raw_os_error(libc::EPERM)), |_| {}).is_err());
    }

    #[test]
    fn a_kernel_that_never_stops_logging_is_read_up_to_a_limit() {
        let mut count = 0;
        for_each_record(|_| Ok(1), |_| count += 1).unwrap();
        assert_eq!(count, MAX_RECORDS);
    }

    #[test]
    fn a_missing_device_and_a_forbidden_one_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path(), Clock::system());
        assert_eq!(read(&host, Tally::new(Nanos(0), None), &|| false), Err(Unreadable::Absent));
        let denied = || io::Error::from_raw_os_error(libc::EPERM);
        let Unreadable::Failed(plain) = unreadable(&denied(), &host) else { unreachable!() };
        assert!(!plain.contains("CAP_SYSLOG"), "{plain}");
        std::fs::create_dir_all(folder.path().join("proc/sys/kernel")).unwrap();
        std::fs::write(folder.path().join("proc/sys/kernel/dmesg_restrict"), "1\n").unwrap();
        let Unreadable::Failed(restricted) = unreadable(&denied(), &host) else { unreachable!() };
        assert!(restricted.contains("CAP_SYSLOG"), "{restricted}");
    }

    proptest! {
        #[test]
        fn no_record_is_a_fault(record in proptest::collection::vec(any::<u8>(), 0..80), microseconds in any::<u64>()) {
            let _ = entry(&record, now());
            let record = format!("4,1,{microseconds},-;x");
            let _ = entry(record.as_bytes(), now());
        }
    }
}
