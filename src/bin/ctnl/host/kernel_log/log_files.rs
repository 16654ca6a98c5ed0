//! The files of the syslog daemons, with the rotated ones: /var/log/messages, kern.log and syslog.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ctnl::host::Host;
use ctnl::units::{Bytes, Nanos};
use flate2::bufread::MultiGzDecoder;
use jiff::tz::TimeZone;
use memchr::memmem;
use nix::libc::O_NONBLOCK;

use super::line::{Calendar, entry};
use super::stream::{End, for_each_line};
use super::tally::Tally;
use super::{Interrupted, LogSource, Unreadable};

const FOLDER: &str = "/var/log";
/// The files that the distributions write messages of the kernel to.
const NAMES: [&str; 3] = ["messages", "kern.log", "syslog"];
/// Most bytes that are read of one file: of a longer one its end.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Most time for all files.
const MAX_TIME: Nanos = Nanos(5 * Nanos::PER_SECOND);
const BLOCK: usize = 128 * 1024;

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    Gzip,
    Zstandard,
    /// By its extension.
    Unknown,
}

/// A file of one of [`NAMES`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct LogFile {
    path: PathBuf,
    coding: Coding,
    /// Its last change, in seconds since 1970.
    changed: i64,
}

/// Reads them. `zone` is that of the daemon; `tally` makes an empty one.
pub fn read(
    host: &Host,
    zone: &TimeZone,
    tally: impl Fn() -> Tally,
    is_interrupted: Interrupted<'_>,
) -> Vec<LogSource> {
    let deadline = host.clock.now().monotonic.plus(MAX_TIME);
    let stopped = || match () {
        () if is_interrupted() => Some("interrupted"),
        () if host.clock.now().monotonic >= deadline => Some("for want of time"),
        () => None,
    };
    let folder = host.path(FOLDER);
    let names = match names_in(&folder) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![LogSource::unreadable(FOLDER, Unreadable::Failed(error.to_string()))],
    };
    let sources = NAMES.iter().filter_map(|base| {
        let files = files_of(base, &names, &folder);
        (!files.is_empty()).then(|| source(base, &files, zone, &tally, &stopped))
    });
    sources.collect()
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

/// The file `base` and those that logrotate(8) made of it, the last changed one first.
fn files_of(base: &str, names: &[String], folder: &Path) -> Vec<LogFile> {
    let files = names.iter().filter_map(|name| {
        let coding = coding(name.strip_prefix(base)?)?;
        let path = folder.join(name);
        let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some(LogFile { path, coding, changed: metadata.mtime() })
    });
    let mut files: Vec<_> = files.collect();
    files.sort_by(|one, other| (other.changed, &one.path).cmp(&(one.changed, &other.path)));
    files
}

/// How the file with this rest of its name is read: ``, `.1`, `.2.gz`, `-20261101`, `-20261101.gz`, `.old`; `None` where it
/// is another file.
fn coding(rest: &str) -> Option<Coding> {
    let (rest, coding) = match rest.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Coding::Gzip),
        Some((stem, "zst")) => (stem, Coding::Zstandard),
        Some((stem, "xz" | "bz2" | "lz4" | "lzma" | "Z")) => (stem, Coding::Unknown),
        _ => (rest, Coding::Plain),
    };
    let is_rotated = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let is_ours = match rest.strip_prefix(['.', '-']) {
        Some(stem) => stem == "old" || !stem.is_empty() && is_rotated(stem),
        None => rest.is_empty(),
    };
    is_ours.then_some(coding)
}

fn source(
    base: &str,
    files: &[LogFile],
    zone: &TimeZone,
    tally: &impl Fn() -> Tally,
    stopped: &impl Fn() -> Option<&'static str>,
) -> LogSource {
    let mut source = LogSource::empty(format!("{FOLDER}/{base}"));
    let (mut read, mut failures) = (0, Vec::new());
    for file in files {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(why) = stopped() {
            source.gaps.push(format!("{name} and older ones: not read: {why}"));
            break;
        }
        let calendar = Calendar { zone: zone.clone(), newest: file.changed };
        let mut tally = tally();
        match read_file(file, &calendar, &mut tally, stopped) {
            Ok(gap) => {
                read += 1;
                source.gaps.extend(gap.map(|gap| format!("{name}: {gap}")));
            }
            Err(error) => failures.push(format!("{name}: {error}")),
        }
        // Also what was read before the error.
        source.notices.merge(tally.finish());
    }
    if read == 0 && !failures.is_empty() {
        source.unreadable = Some(Unreadable::Failed(failures.join("; ")));
    } else {
        source.gaps.extend(failures);
    }
    source
}

/// Counts the messages of `file`; what was not read of it is returned.
fn read_file(
    file: &LogFile,
    calendar: &Calendar,
    tally: &mut Tally,
    stopped: &impl Fn() -> Option<&'static str>,
) -> io::Result<Option<String>> {
    // It may have been replaced by a FIFO since.
    let mut opened = File::options().read(true).custom_flags(O_NONBLOCK).open(&file.path)?;
    if !opened.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut gap = None;
    if file.coding == Coding::Plain {
        let length = opened.metadata()?.len();
        if length > MAX_BYTES {
            opened.seek(SeekFrom::Start(length - MAX_BYTES))?;
            gap = Some(format!("only the last {} were read", Bytes(MAX_BYTES)));
        }
    }
    let end = lines(&mut *decoder(opened, file.coding)?, calendar, tally, stopped)?;
    Ok(match end {
        End::Stream => gap,
        End::Bytes if file.coding == Coding::Plain => gap,
        End::Bytes => Some(format!("only the first {} were read", Bytes(MAX_BYTES))),
        End::Stopped => Some(format!("not read to its end: {}", stopped().unwrap_or("for want of time"))),
    })
}

fn decoder(file: File, coding: Coding) -> io::Result<Box<dyn Read>> {
    Ok(match coding {
        Coding::Plain => Box::new(file),
        Coding::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BLOCK, file))),
        #[cfg(feature = "zstd")]
        Coding::Zstandard => Box::new(zstd::stream::read::Decoder::new(file)?),
        #[cfg(not(feature = "zstd"))]
        Coding::Zstandard => return Err(unknown_coding()),
        Coding::Unknown => return Err(unknown_coding()),
    })
}

fn unknown_coding() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "not read: ctnl cannot decompress it")
}

fn lines(
    reader: &mut dyn Read,
    calendar: &Calendar,
    tally: &mut Tally,
    stopped: &impl Fn() -> Option<&'static str>,
) -> io::Result<End> {
    let words = ["conntrack:", "suppressed", "repeated "].map(memmem::Finder::new);
    for_each_line(
        BufReader::with_capacity(BLOCK, reader),
        MAX_BYTES,
        || stopped().is_none(),
        |line| {
            // Most lines are of others.
            let is_candidate = words.iter().any(|word| word.find(line).is_some());
            match is_candidate.then(|| entry(line, calendar)).flatten() {
                Some(entry) => tally.add(&entry),
                None => tally.add_other_line(),
            }
        },
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::io::Write;

    use ctnl::clock::{Clock, Time};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use jiff::Timestamp;

    use super::*;

    const LINE: &str = "Nov 29 01:52:10 gate kernel: [5.1] nf_conntrack: table full, dropping packet\n";

    struct Logs(tempfile::TempDir);

    impl Logs {
        fn new() -> Self {
            let logs = Logs(tempfile::tempdir().unwrap());
            fs::create_dir_all(logs.0.path().join("var/log")).unwrap();
            logs
        }

        fn file(&self, name: &str, content: &[u8]) -> PathBuf {
            let path = self.0.path().join("var/log").join(name);
            fs::write(&path, content).unwrap();
            let changed: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
            File::open(&path).unwrap().set_modified(changed.into()).unwrap();
            path
        }

        fn read_by(&self, clock: Clock) -> Vec<LogSource> {
            let now =
                Nanos(u64::try_from("2026-11-29T12:00:00Z".parse::<Timestamp>().unwrap().as_nanosecond()).unwrap());
            read(&Host::at(self.0.path(), clock), &TimeZone::UTC, || Tally::new(now, Some("gate")), &|| false)
        }

        fn read(&self) -> Vec<LogSource> {
            self.read_by(Clock::system())
        }
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn rotated_files_belong_to_the_file_that_they_were_made_of() {
        let logs = Logs::new();
        logs.file("messages", b"");
        logs.file("messages.1", LINE.repeat(2).as_bytes());
        logs.file("messages.2.gz", &[gzip(LINE.as_bytes()), gzip(LINE.as_bytes())].concat());
        logs.file("messages-20261101", LINE.as_bytes());
        logs.file("messages-20261101.gz", &gzip(LINE.as_bytes()));
        logs.file("messages.conf", LINE.as_bytes());
        logs.file("messages-of-others", LINE.as_bytes());
        logs.file("kern.log.old", LINE.as_bytes());
        let sources = logs.read();
        let counts: Vec<_> = sources.iter().map(|source| (&*source.name, source.notices.full[&None].count)).collect();
        assert_eq!(counts, [("/var/log/messages", 6), ("/var/log/kern.log", 1)]);
        assert!(sources.iter().all(|source| source.gaps.is_empty() && source.unreadable.is_none()), "{sources:?}");
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn a_file_that_zstd_has_compressed_is_read() {
        let logs = Logs::new();
        logs.file("syslog.1.zst", &zstd::encode_all(LINE.as_bytes(), 1).unwrap());
        assert_eq!(logs.read()[0].notices.full[&None].count, 1);
    }

    #[test]
    fn what_cannot_be_read_is_named_and_the_rest_is_read() {
        let logs = Logs::new();
        logs.file("messages", LINE.as_bytes());
        logs.file("messages.1.xz", b"\xfd7zXZ");
        logs.file("messages.2.gz", &gzip(LINE.as_bytes())[..20]);
        logs.file("syslog.1.bz2", b"BZh");
        let sources = logs.read();
        assert_eq!(sources[0].notices.full[&None].count, 1);
        assert!(sources[0].gaps.iter().any(|gap| gap == "messages.1.xz: not read: ctnl cannot decompress it"));
        assert!(sources[0].gaps.iter().any(|gap| gap.starts_with("messages.2.gz: ")), "{sources:?}");
        assert!(matches!(&sources[1].unreadable, Some(Unreadable::Failed(why)) if why.contains("syslog.1.bz2")));
    }

    #[test]
    fn of_a_huge_file_the_end_is_read_and_that_is_said() {
        let logs = Logs::new();
        let path = logs.file("messages", LINE.as_bytes());
        let mut file = File::options().append(true).open(path).unwrap();
        // A hole takes no space.
        file.set_len(MAX_BYTES + 1000).unwrap();
        file.write_all(format!("\n{LINE}").as_bytes()).unwrap();
        // The time does not end, however slow this machine is.
        let source = &logs.read_by(Clock::from_fn(Time::default))[0];
        assert_eq!(source.notices.full[&None].count, 1, "the first line is before what was read");
        assert_eq!(source.gaps, [format!("messages: only the last {} were read", Bytes(MAX_BYTES))]);
    }

    #[test]
    fn reading_ends_when_the_time_is_over_and_that_is_said() {
        let logs = Logs::new();
        logs.file("messages", LINE.as_bytes());
        logs.file("messages.1", LINE.as_bytes());
        let calls = std::sync::atomic::AtomicU64::new(0);
        let clock = Clock::from_fn(move || {
            let seconds = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Time { monotonic: Nanos(seconds * 2 * Nanos::PER_SECOND), realtime: Nanos(0) }
        });
        let gaps = logs.read_by(clock)[0].gaps.join("\n");
        assert!(gaps.contains("messages: not read to its end: for want of time"), "{gaps}");
        assert!(gaps.contains("messages.1 and older ones: not read: for want of time"), "{gaps}");
    }

    #[test]
    fn a_fifo_does_not_stop_the_reading_and_a_host_without_the_folder_has_no_files() {
        let logs = Logs::new();
        nix::unistd::mkfifo(&logs.0.path().join("var/log/messages"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        logs.file("syslog", LINE.as_bytes());
        let sources = logs.read();
        assert_eq!(sources.iter().map(|source| &*source.name).collect::<Vec<_>>(), ["/var/log/syslog"]);
        assert!(
            read(&Host::at("/nonexistent", Clock::system()), &TimeZone::UTC, || Tally::new(Nanos(0), None), &|| false)
                .is_empty()
        );
    }

    #[test]
    fn a_repetition_behind_a_line_of_another_program_is_not_counted() {
        let logs = Logs::new();
        let again = "Nov 29 01:53:10 gate last message repeated 4 times\n";
        logs.file("messages", format!("{LINE}{again}Nov 29 01:53:11 gate sshd[1]: x\n{again}").as_bytes());
        assert_eq!(logs.read()[0].notices.full[&None].count, 5);
    }
}
