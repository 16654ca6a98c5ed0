//! Notes of the timeouts that were written into entries, below `/run/ctnl`.
//!
//! An entry whose timeout was written keeps that expiry until its next packet, so the written value is
//! one more timeout that may be in force. It is for as long as itself: an entry without a packet since
//! then has expired. There is one file for each namespace, value and process, so that commands which run
//! at the same time do not lose each other's notes, and that a run does not read its own.

use std::cell::{Cell, OnceCell};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ctnl::age::TimeoutContext;
use ctnl::host::Host;
use ctnl::netlink::Netns;
use ctnl::units::{Nanos, Seconds};

/// The folder of the notes, on the host.
pub const FOLDER: &str = "/run/ctnl";

/// A network namespace, until the next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NamespaceId {
    /// The cookie, or the inode number before Linux 5.14.
    name: String,
    boot: String,
}

impl NamespaceId {
    /// The namespace `netns` of this host.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `/proc` is missing.
    fn of(netns: &Netns, host: &Host) -> io::Result<Self> {
        let boot = boot_id(host)?;
        let name = netns.run(|| namespace_name(host)).map_err(|error| io::Error::other(error.to_string()))??;
        Ok(NamespaceId { name, boot })
    }
}

fn boot_id(host: &Host) -> io::Result<String> {
    let kernel = host.kernel();
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("read {}: {error}", kernel.root().join("random/boot_id").display()))
    };
    Ok(kernel.read_text("random/boot_id").map_err(named)?.trim().to_owned())
}

fn namespace_name(host: &Host) -> io::Result<String> {
    match Netns::current_cookie()? {
        Some(cookie) => Ok(format!("cookie{cookie}")),
        None => {
            let inode = fs::read_link(host.proc().join("thread-self/ns/net"))?;
            Ok(inode.to_string_lossy().chars().filter(char::is_ascii_alphanumeric).collect())
        }
    }
}

/// The notes of one namespace, for one process.
#[derive(Debug)]
pub struct TimeoutNotes {
    host: Host,
    netns: Netns,
    namespace: OnceCell<NamespaceId>,
    process: String,
}

impl TimeoutNotes {
    /// The notes of `netns`, for this process.
    pub fn of(netns: &Netns, host: &Host) -> Self {
        let process = process_name(host);
        TimeoutNotes { host: host.clone(), netns: netns.clone(), namespace: OnceCell::new(), process }
    }

    /// Finds out which namespace it is, as long as this process may enter it.
    pub fn identify(&self) {
        // Without that, it is not known whether what others wrote is of this namespace.
        let _ = self.namespace();
    }

    /// The timeouts that other processes wrote and that may be in force, in ascending order.
    ///
    /// # Errors
    /// As [`read`]; or there are notes, and the namespace cannot be identified.
    pub fn read(&self) -> io::Result<Vec<Seconds>> {
        let names = note_names(&self.folder())?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        read(&self.folder(), &names, self.namespace()?, &self.process, self.now())
    }

    /// Reads them into `context`.
    pub fn read_into(&self, context: &mut TimeoutContext) {
        let written = self.read();
        context.unknown_written_timeouts = written.is_err();
        context.written = written.unwrap_or_default();
    }

    /// Removes the notes of every namespace that have expired, where this user may do so.
    pub fn remove_expired(&self) {
        let Ok(names) = note_names(&self.folder()) else { return };
        let Ok(boot) = boot_id(&self.host) else { return };
        remove_expired(&self.folder(), &names, &boot, self.now());
    }

    /// Records that `seconds` is written into entries at `now` or up to `during` later.
    fn record(&self, seconds: u32, during: Seconds) -> io::Result<()> {
        let now = self.now().seconds().0.saturating_add(during.0);
        record(&self.folder(), self.namespace()?, &self.process, Seconds(seconds.into()), Seconds(now))
    }

    fn namespace(&self) -> io::Result<&NamespaceId> {
        if let Some(namespace) = self.namespace.get() {
            return Ok(namespace);
        }
        let namespace = NamespaceId::of(&self.netns, &self.host)?;
        Ok(self.namespace.get_or_init(|| namespace))
    }

    fn folder(&self) -> PathBuf {
        self.host.path(FOLDER)
    }

    fn now(&self) -> Nanos {
        self.host.clock.now().monotonic
    }
}

/// How long a run may take: its first note covers what it writes until then. Only a run that is killed, and
/// so cannot replace that note at its end, makes it hold this much too long.
const LONGEST_RUN: Seconds = Seconds(3600);

/// A timeout that a run writes into entries. Its note is replaced at the end, however that comes about.
#[derive(Debug)]
pub struct WrittenTimeout {
    notes: TimeoutNotes,
    seconds: u32,
    has_begun: Cell<bool>,
}

impl WrittenTimeout {
    /// `seconds`, to be written in `netns`. Nothing is recorded yet.
    pub fn new(netns: &Netns, host: &Host, seconds: u32) -> Self {
        WrittenTimeout { notes: TimeoutNotes::of(netns, host), seconds, has_begun: Cell::new(false) }
    }

    /// To be called before the first write.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn begin(&self) -> io::Result<()> {
        self.has_begun.set(true);
        self.notes.record(self.seconds, LONGEST_RUN)
    }
}

impl Drop for WrittenTimeout {
    fn drop(&mut self) {
        if self.has_begun.get() {
            // An error of the first note was reported, and a first note that is not replaced holds longer.
            let _ = self.notes.record(self.seconds, Seconds(0));
        }
    }
}

/// The process, unlike any earlier one with its PID: the start time is field 22 of proc_pid_stat(5).
fn process_name(host: &Host) -> String {
    let stat = fs::read_to_string(host.proc().join("self/stat")).unwrap_or_default();
    // The name in parentheses may have any character; field 3 is the first one after it.
    let start = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(19));
    format!("{}.{}", std::process::id(), start.unwrap_or("0"))
}

/// Writes the note that `process` writes `seconds` into entries until `last`, of CLOCK_MONOTONIC: it holds
/// until an entry that is written then expires.
fn record(folder: &Path, namespace: &NamespaceId, process: &str, seconds: Seconds, last: Seconds) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // A user without CAP_DAC_OVERRIDE may flush, too; the umask may be 077.
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o055 != 0o055 {
        fs::set_permissions(folder, Permissions::from_mode(mode | 0o055))?;
    }
    let name = format!("{PREFIX}{}-{}-{process}", namespace.name, seconds.0);
    // One second for what the kernel rounds, one for the fraction of `last`.
    let until = last.0.saturating_add(seconds.0).saturating_add(2);
    let unfinished = folder.join(format!(".{name}"));
    let mut file = File::create(&unfinished)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    writeln!(file, "{} {until}", namespace.boot)?;
    fs::rename(&unfinished, folder.join(name))
}

const PREFIX: &str = "written-";

/// The names of the notes of every namespace.
fn note_names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The timeouts written by other processes than `process` that may be in force in `namespace` at `now`, in
/// ascending order. A note whose contents are damaged or cannot be read counts, since its name has the
/// value: one more candidate makes an idle time smaller, never larger.
///
/// # Errors
/// The name of a note has no timeout.
fn read(
    folder: &Path,
    names: &[String],
    namespace: &NamespaceId,
    process: &str,
    now: Nanos,
) -> io::Result<Vec<Seconds>> {
    let prefix = format!("{PREFIX}{}-", namespace.name);
    let mut written = Vec::new();
    for name in names {
        let Some(rest) = name.strip_prefix(&prefix) else { continue };
        let (seconds, writer) = rest.split_once('-').unwrap_or((rest, ""));
        if writer == process {
            continue;
        }
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("'{name}' has no timeout in its name"));
        let seconds = Seconds(seconds.parse().map_err(|_| damaged())?);
        let note = match fs::read(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            note => note.unwrap_or_default(),
        };
        if is_in_force(&String::from_utf8_lossy(&note), &namespace.boot, now.seconds()) {
            written.push(seconds);
        }
    }
    written.sort_unstable();
    written.dedup();
    Ok(written)
}

/// Removes those of the notes `names` that have expired.
fn remove_expired(folder: &Path, names: &[String], boot: &str, now: Nanos) {
    for name in names {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|note| !is_in_force(&note, boot, now.seconds())) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// A damaged note is.
fn is_in_force(note: &str, boot: &str, now: Seconds) -> bool {
    let Some((of_boot, until)) = note.trim_end().split_once(' ') else { return true };
    of_boot == boot && until.parse().map_or(true, |until: u64| until >= now.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn namespace(name: &str, boot: &str) -> NamespaceId {
        NamespaceId { name: name.to_owned(), boot: boot.to_owned() }
    }

    fn at(seconds: u64) -> Nanos {
        Seconds(seconds).into()
    }

    /// The notes of `namespace` that process "1.1" reads.
    fn read_in(folder: &Path, namespace: &NamespaceId, now: u64) -> io::Result<Vec<Seconds>> {
        read(folder, &note_names(folder)?, namespace, "1.1", at(now))
    }

    fn record_in(folder: &Path, namespace: &NamespaceId, seconds: u64, last: u64) -> io::Result<()> {
        record(folder, namespace, "2.2", Seconds(seconds), Seconds(last))
    }

    #[test]
    fn a_written_timeout_is_noted_for_as_long_as_it_can_be_in_force() {
        let run = tempfile::tempdir().unwrap();
        let (folder, here) = (run.path().join("ctnl"), namespace("cookie1", "b"));
        assert_eq!(read_in(&folder, &here, 0).unwrap(), []);
        record_in(&folder, &here, 600, 100).unwrap();
        record_in(&folder, &here, 5, 100).unwrap();
        assert_eq!(read_in(&folder, &here, 105).unwrap(), [Seconds(5), Seconds(600)]);
        assert_eq!(read_in(&folder, &here, 110).unwrap(), [Seconds(600)]);
        record_in(&folder, &here, 5, 200).unwrap();
        assert_eq!(read_in(&folder, &here, 205).unwrap(), [Seconds(5), Seconds(600)]);
        assert_eq!(read_in(&folder, &here, 703).unwrap(), []);
    }

    #[test]
    fn a_process_reads_the_notes_of_others_and_not_its_own() {
        let run = tempfile::tempdir().unwrap();
        let here = namespace("cookie1", "b");
        record(run.path(), &here, "1.1", Seconds(600), Seconds(100)).unwrap();
        assert_eq!(read_in(run.path(), &here, 100).unwrap(), []);
        record(run.path(), &here, "1.2", Seconds(600), Seconds(100)).unwrap();
        assert_eq!(read_in(run.path(), &here, 100).unwrap(), [Seconds(600)], "an earlier process with this PID");
    }

    #[test]
    fn a_note_holds_for_its_namespace_and_boot_only() {
        let run = tempfile::tempdir().unwrap();
        record_in(run.path(), &namespace("cookie1", "b"), 5, 100).unwrap();
        for other in [namespace("cookie2", "b"), namespace("cookie1", "c"), namespace("cookie", "b")] {
            assert_eq!(read_in(run.path(), &other, 100).unwrap(), [], "{other:?}");
        }
    }

    #[test]
    fn a_damaged_note_counts_and_other_files_are_ignored() {
        let run = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("written-cookie1-30", ""),
            ("written-cookie1-40-2.2", "b soon"),
            (".written-cookie1-50-7.7", "b 999"),
            ("events.sock", ""),
        ] {
            fs::write(run.path().join(name), text).unwrap();
        }
        fs::write(run.path().join("written-cookie1-60-2.2"), [0xff]).unwrap();
        fs::create_dir(run.path().join("written-cookie1-70-2.2")).unwrap();
        let here = namespace("cookie1", "b");
        let all = [Seconds(30), Seconds(40), Seconds(60), Seconds(70)];
        assert_eq!(read_in(run.path(), &here, 100).unwrap(), all);
        fs::write(run.path().join("written-cookie1-x"), "b 1").unwrap();
        let error = read_in(run.path(), &here, 100).unwrap_err();
        assert!(error.to_string().contains("'written-cookie1-x'"), "{error}");
    }

    #[test]
    fn every_user_may_read_a_note_whatever_the_umask_is() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("ctnl");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        record_in(&folder, &namespace("cookie1", "b"), 5, 100).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o755);
        assert_eq!(mode(&folder.join("written-cookie1-5-2.2")), 0o644);
    }

    #[test]
    fn expired_notes_of_every_namespace_are_removed_and_damaged_ones_are_not() {
        let run = tempfile::tempdir().unwrap();
        record_in(run.path(), &namespace("cookie1", "b"), 5, 100).unwrap();
        record_in(run.path(), &namespace("cookie2", "b"), 5, 100).unwrap();
        record_in(run.path(), &namespace("cookie2", "b"), 500, 100).unwrap();
        record_in(run.path(), &namespace("cookie3", "c"), 500, 100).unwrap();
        fs::write(run.path().join("written-cookie1-30-2.2"), "").unwrap();
        remove_expired(run.path(), &note_names(run.path()).unwrap(), "b", at(108));
        let mut left = note_names(run.path()).unwrap();
        left.sort_unstable();
        assert_eq!(left, ["written-cookie1-30-2.2", "written-cookie2-500-2.2"]);
    }

    #[test]
    fn where_no_note_can_be_written_or_read_it_is_an_error() {
        let run = tempfile::tempdir().unwrap();
        let file = run.path().join("file");
        fs::write(&file, "").unwrap();
        record_in(&file, &namespace("cookie1", "b"), 5, 100).unwrap_err();
        read_in(&file, &namespace("cookie1", "b"), 100).unwrap_err();
    }

    #[test]
    fn notes_that_cannot_be_read_leave_idle_times_undecided() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path(), ctnl::clock::Clock::system());
        let notes = TimeoutNotes::of(&Netns::Current, &host);
        let mut context = TimeoutContext::default();
        notes.read_into(&mut context);
        assert!(!context.unknown_written_timeouts, "there are none");
        fs::create_dir(root.path().join("run")).unwrap();
        fs::write(host.path(FOLDER), "").unwrap();
        notes.read_into(&mut context);
        assert!(context.unknown_written_timeouts);
    }
}
