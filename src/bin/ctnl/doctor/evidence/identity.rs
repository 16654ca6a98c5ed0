//! Which host was read, and when.

use ctnl::units::Nanos;
use jiff::tz::TimeZone;

use super::Source;
use crate::host::files::local_time_zone;
use crate::host::kernel_log::name_of;

/// What a report is headed with.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The name of the host, where it has one.
    pub name: Option<String>,
    /// The release of the kernel; `None` where none runs.
    pub kernel: Option<String>,
    /// `--root`, where it was given.
    pub root: Option<String>,
    /// The time of the reading, since 1970.
    pub time: Nanos,
    /// The time zone of the host.
    pub zone: TimeZone,
}

impl Identity {
    /// Reads it.
    pub fn read(source: &Source) -> Self {
        let host = &source.host;
        let is_running = source.netns.is_some();
        Identity {
            name: name_of(host),
            kernel: is_running.then(|| host.kernel().read_text("osrelease").ok()).flatten(),
            root: (!is_running).then(|| host.root().display().to_string()),
            time: host.clock.now().realtime,
            zone: local_time_zone(host),
        }
    }
}
