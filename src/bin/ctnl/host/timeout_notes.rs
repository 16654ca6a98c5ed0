//! Notes of the timeouts that were written into entries, below `/run/ctnl`.
//!
//! An entry whose timeout was written keeps that expiry until its next packet, so the written value is
//! one more timeout that may be in force. It is for as long as itself: an entry without a packet since
//! then has expired. There is one file for each namespace and value, so that commands which run at the
//! same time do not lose each other's notes.

use std::fs;
use std::io;
use std::path::Path;

use ctnl::host::Host;
use ctnl::netlink::Netns;
use ctnl::units::{Nanos, Seconds};

/// The folder of the notes, on the host.
pub const FOLDER: &str = "/run/ctnl";

/// A network namespace, until the next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceId {
    /// The cookie, or the inode number before Linux 5.14.
    name: String,
    boot: String,
}

impl NamespaceId {
    /// The namespace `netns` of this host.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `/proc` is missing.
    pub fn of(netns: &Netns, host: &Host) -> io::Result<Self> {
        let boot = host.kernel().read_text("random/boot_id")?.trim().to_owned();
        let name = netns.run(|| namespace_name(host)).map_err(|error| io::Error::other(error.to_string()))??;
        Ok(NamespaceId { name, boot })
    }
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

/// Records that `seconds` is written into entries at `now`, of CLOCK_MONOTONIC. Call it before the first
/// write and after the last one: the note holds until an entry that is written at that time expires.
///
/// # Errors
/// The note cannot be written.
fn record(folder: &Path, namespace: &NamespaceId, seconds: Seconds, now: Nanos) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let name = format!("written-{}-{}", namespace.name, seconds.0);
    // One second for what the kernel rounds, one for the fraction of `now`.
    let until = now.seconds().0.saturating_add(seconds.0).saturating_add(2);
    let unfinished = folder.join(format!(".{name}.{}", std::process::id()));
    fs::write(&unfinished, format!("{} {until}\n", namespace.boot))?;
    fs::rename(&unfinished, folder.join(name))
}

/// Records that `seconds` is written into entries of `netns` now.
///
/// # Errors
/// The note cannot be written.
pub fn record_in(netns: &Netns, host: &Host, seconds: u32) -> io::Result<()> {
    let namespace = NamespaceId::of(netns, host)?;
    record(&host.path(FOLDER), &namespace, Seconds(seconds.into()), host.clock.now().monotonic)
}

/// The written timeouts that may be in force in `namespace` at `now`, in ascending order. A note whose
/// contents are damaged counts: one more candidate makes an idle time smaller, never larger.
///
/// # Errors
/// The folder exists and cannot be read.
pub fn read(folder: &Path, namespace: &NamespaceId, now: Nanos) -> io::Result<Vec<Seconds>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let prefix = format!("written-{}-", namespace.name);
    let mut written = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let seconds = name.to_str().and_then(|name| name.strip_prefix(&prefix)).and_then(|text| text.parse().ok());
        let Some(seconds) = seconds else { continue };
        let note = fs::read_to_string(entry.path()).unwrap_or_default();
        if is_in_force(&note, namespace, now.seconds()) {
            written.push(Seconds(seconds));
        }
    }
    written.sort_unstable();
    Ok(written)
}

fn is_in_force(note: &str, namespace: &NamespaceId, now: Seconds) -> bool {
    let Some((boot, until)) = note.trim_end().split_once(' ') else { return true };
    boot == namespace.boot && until.parse().map_or(true, |until: u64| until >= now.0)
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

    #[test]
    fn a_written_timeout_is_noted_for_as_long_as_it_can_be_in_force() {
        let run = tempfile::tempdir().unwrap();
        let (folder, here) = (run.path().join("ctnl"), namespace("cookie1", "b"));
        assert_eq!(read(&folder, &here, at(0)).unwrap(), []);
        record(&folder, &here, Seconds(600), at(100)).unwrap();
        record(&folder, &here, Seconds(5), at(100)).unwrap();
        assert_eq!(read(&folder, &here, at(105)).unwrap(), [Seconds(5), Seconds(600)]);
        assert_eq!(read(&folder, &here, at(110)).unwrap(), [Seconds(600)]);
        record(&folder, &here, Seconds(5), at(200)).unwrap();
        assert_eq!(read(&folder, &here, at(205)).unwrap(), [Seconds(5), Seconds(600)]);
        assert_eq!(read(&folder, &here, at(703)).unwrap(), []);
    }

    #[test]
    fn a_note_holds_for_its_namespace_and_boot_only() {
        let run = tempfile::tempdir().unwrap();
        record(run.path(), &namespace("cookie1", "b"), Seconds(5), at(100)).unwrap();
        for other in [namespace("cookie2", "b"), namespace("cookie1", "c"), namespace("cookie", "b")] {
            assert_eq!(read(run.path(), &other, at(100)).unwrap(), [], "{other:?}");
        }
    }

    #[test]
    fn a_damaged_note_counts_and_other_files_are_ignored() {
        let run = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("written-cookie1-30", ""),
            ("written-cookie1-40", "b soon"),
            ("written-cookie1-x", "b 999"),
            (".written-cookie1-50.7", "b 999"),
            ("events.sock", ""),
        ] {
            fs::write(run.path().join(name), text).unwrap();
        }
        fs::write(run.path().join("written-cookie1-60"), [0xff]).unwrap();
        let written = read(run.path(), &namespace("cookie1", "b"), at(100)).unwrap();
        assert_eq!(written, [Seconds(30), Seconds(40), Seconds(60)]);
    }

    #[test]
    fn where_no_note_can_be_written_it_is_an_error() {
        let run = tempfile::tempdir().unwrap();
        let file = run.path().join("file");
        fs::write(&file, "").unwrap();
        record(&file, &namespace("cookie1", "b"), Seconds(5), at(100)).unwrap_err();
        read(&file, &namespace("cookie1", "b"), at(100)).unwrap_err();
    }
}
