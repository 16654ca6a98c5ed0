//! What all sinks are created with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ctnl::clock::Clock;

use super::compress::Compression;
use super::queue::Gap;
use super::rotation::Rotation;

/// Formats the line that reports a gap, with its newline; empty in a format that has none.
pub type GapFormatter = Arc<dyn Fn(&Gap) -> Vec<u8> + Send + Sync>;

/// Whether a line, without its newline, is one of the stream's format, as far as its beginning shows.
pub type LineTest = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// What all sinks are created with.
#[derive(Clone)]
pub struct SinkOptions {
    /// Queue limit in bytes of memory. The sinks share their chunks, so this is the limit of all together.
    pub queue_max: usize,
    /// The folder of the spools. Without one, the lines for a sink that is down stay in memory.
    pub spool: Option<PathBuf>,
    /// Limit of one sink's spool in bytes.
    pub spool_max: u64,
    /// How long lines are kept in the spool that a destination has acknowledged.
    pub spool_keep: Option<Duration>,
    /// When files are rotated.
    pub rotation: Rotation,
    /// How rotated files are compressed.
    pub compression: Option<Compression>,
    /// When files are synchronised to the disk.
    pub sync: SyncPolicy,
    /// The header fields of syslog messages and journal entries.
    pub syslog: SyslogHeader,
    /// The credentials file for NATS.
    #[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "nothing else reads it"))]
    pub nats_credentials: Option<PathBuf>,
    /// The files for TLS.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "nothing else reads it"))]
    pub tls: TlsFiles,
    /// The clock.
    pub clock: Clock,
    /// How a gap is reported in the stream.
    pub format_gap: GapFormatter,
    /// The column names, with which each file and each stream connection begins. They are not a
    /// line of the stream and have no number.
    pub header: Arc<[u8]>,
    /// Recognises the lines of the stream's format in a file that exists.
    pub is_own_line: LineTest,
}

/// The files for TLS, all PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "nothing else reads it"))]
pub struct TlsFiles {
    /// The certificate authorities to trust, instead of those of the host.
    pub authorities: Option<PathBuf>,
    /// The certificate of this client, followed by the intermediate ones.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// Whether there is any.
    pub fn are_given(&self) -> bool {
        *self != TlsFiles::default()
    }
}

/// When a file is synchronised to the disk. What was written survives the end of the process
/// anyway; only a crash of the host loses what was not synchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// Never: the kernel writes it back when it chooses to.
    Never,
    /// When it is rotated or closed.
    #[default]
    Rotate,
    /// After each chunk.
    Always,
}

/// The header fields of syslog messages and journal entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogHeader {
    /// The facility's number.
    pub facility: u8,
    /// The severity's number.
    pub severity: u8,
    /// APP-NAME: the name of the program.
    pub app: String,
    /// HOSTNAME.
    pub host: String,
}

impl SyslogHeader {
    /// The header of `ctnl` on a host of this name. RFC 5424 allows 255 printable ASCII characters,
    /// and `-` for an unknown name.
    pub fn new(facility: u8, severity: u8, host: &str) -> Self {
        let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(255).collect();
        let host = if host.is_empty() { "-".to_owned() } else { host };
        SyslogHeader { facility, severity, app: "ctnl".to_owned(), host }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_reduced_to_what_rfc_5424_allows() {
        for (name, host) in [("fw1\n", "fw1"), ("", "-"), ("ä b\n", "b")] {
            assert_eq!(SyslogHeader::new(3, 6, name).host, host);
        }
        assert_eq!(SyslogHeader::new(3, 6, &"x".repeat(300)).host.len(), 255);
    }
}
