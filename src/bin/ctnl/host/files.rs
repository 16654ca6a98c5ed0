//! The host's files with names of ports and labels, its time zone, and the files of values of a filter.

use std::borrow::Cow;
use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use ctnl::filter::{MAX_FILE, ServiceNames};
use ctnl::host::Host;
use ctnl::model::LabelNames;
use jiff::tz::TimeZone;
use nix::libc::O_NONBLOCK;

/// Most bytes of a file with names or a time zone. Those that systems have are below 1 MiB.
const MAX_SIZE: u64 = 16 * 1024 * 1024;
/// The file that libnetfilter_conntrack reads names of labels from.
const LABELS: &str = "/etc/xtables/connlabel.conf";
const PROTOCOLS: &str = "/etc/protocols";
const SERVICES: &str = "/etc/services";
const TIME_ZONE: &str = "/etc/localtime";
const ZONES: &str = "/usr/share/zoneinfo";

/// Names of ports; none where the file does not exist.
pub fn services(host: &Host) -> ServiceNames {
    read(&host.path(SERVICES)).map_or_else(|_| ServiceNames::default(), |text| ServiceNames::parse(&lossy(&text)))
}

/// Names of labels; none where the file does not exist.
pub fn labels(host: &Host) -> Arc<LabelNames> {
    let names =
        read(&host.path(LABELS)).map_or_else(|_| LabelNames::default(), |text| LabelNames::parse(&lossy(&text)));
    Arc::new(names)
}

/// Names of labels in the file at `path`.
///
/// # Errors
/// It cannot be read, or is no regular file.
pub fn labels_of(path: &Path) -> io::Result<Arc<LabelNames>> {
    Ok(Arc::new(LabelNames::parse(&lossy(&read(path)?))))
}

/// The text of /etc/protocols; none where it does not exist.
pub fn protocols(host: &Host) -> Option<String> {
    read(&host.path(PROTOCOLS)).ok().map(|text| lossy(&text).into_owned())
}

/// The time zone of `TZ`, else the host's; UTC where that is unknown.
pub fn time_zone(host: &Host) -> TimeZone {
    zone(env::var("TZ").ok().as_deref(), host).unwrap_or(TimeZone::UTC)
}

/// The host's time zone, whatever `TZ` is: that of its services. UTC where it is unknown.
pub fn local_time_zone(host: &Host) -> TimeZone {
    zone_in(&host.path(TIME_ZONE)).unwrap_or(TimeZone::UTC)
}

/// `TZ` as tzset(3) reads it: a file of the zone database, or a rule.
fn zone(variable: Option<&str>, host: &Host) -> Option<TimeZone> {
    let Some(variable) = variable else {
        return zone_in(&host.path(TIME_ZONE));
    };
    let name = variable.strip_prefix(':').unwrap_or(variable);
    zone_in(&host.path(ZONES).join(name)).or_else(|| TimeZone::posix(name).ok())
}

fn zone_in(path: &Path) -> Option<TimeZone> {
    read(path).ok().and_then(|file| TimeZone::tzif(&path.to_string_lossy(), &file).ok())
}

/// Reads a regular file of no more than [`MAX_SIZE`] bytes. `TZ` may name anything: a FIFO waits, and a
/// device such as /dev/zero has no end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The values in a file; `-` is standard input. At most one byte more than the limit is read, so that
/// a file without an end is refused as too large.
pub fn values(path: &str) -> io::Result<Vec<u8>> {
    let most = MAX_FILE as u64 + 1;
    let mut bytes = Vec::new();
    if path == "-" {
        io::stdin().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_may_be_a_rule_and_what_is_none_is_left_out() {
        let host = Host::system();
        assert!(zone(Some("CET-1CEST,M3.5.0,M10.5.0/3"), &host).is_some());
        assert!(zone(Some(""), &host).is_none());
        assert!(zone(Some(":/no/such/file"), &host).is_none());
    }

    #[test]
    fn a_time_zone_that_is_a_device_or_a_fifo_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in ["/dev/zero", fifo.to_str().unwrap()] {
            assert!(zone(Some(path), &Host::system()).is_none(), "{path}");
        }
    }

    #[test]
    fn names_come_from_the_files_of_the_host() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/services"), "here 77/tcp\n").unwrap();
        let host = Host::at(folder.path(), ctnl::clock::Clock::system());
        assert_ne!(format!("{:?}", services(&host)), format!("{:?}", ServiceNames::default()));
    }
}
