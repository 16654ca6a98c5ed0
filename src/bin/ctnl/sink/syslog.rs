//! RFC 5424, in datagrams to a local socket or over TCP with octet counting (RFC 6587).
//!
//! The head's time is that of sending; the event's own stands in the line. `sequenceId` is
//! the line's number, as the RFC has it: from 1 to 2^31 - 1, and 1 again. Lines are not cut:
//! none is longer than 8 KiB, which rsyslog and syslog-ng take by default. A receiver of
//! datagrams whose socket is full is waited for.

use std::fs;
use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;

use super::remote::{Address, Framing, Packed, Remote};
use super::{Clock, Deliver, Options, Word};
use crate::chunk::Chunk;

/// The facilities, by number.
pub const FACILITIES: &[&str] = &[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// The severities, by number.
pub const SEVERITIES: &[&str] = &["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

const LOCAL: &str = "/dev/log";

/// What stands in the heads of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    /// The facility's number.
    pub facility: u8,
    /// The severity's number.
    pub severity: u8,
    /// The name of the program.
    pub app: String,
    /// The name of the host.
    pub host: String,
}

impl Default for Syslog {
    /// `daemon.info` from `ctnl` on this host.
    fn default() -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(255).collect();
        let host = if host.is_empty() { "-".to_owned() } else { host };
        Syslog { facility: 3, severity: 6, app: "ctnl".to_owned(), host }
    }
}

/// The framing.
struct Messages {
    head: Syslog,
    process: u32,
    clock: Clock,
}

pub fn make(word: &Word, options: &Options) -> Result<Box<dyn Deliver>> {
    let address = match (word.rest.strip_prefix("tcp:"), &*word.rest) {
        (Some(address), _) => Address::Tcp(address.to_owned()),
        (None, "") => Address::Datagram(LOCAL.into()),
        (None, path) => Address::Datagram(path.into()),
    };
    let messages = Messages { head: options.syslog.clone(), process: std::process::id(), clock: options.clock.clone() };
    Ok(Box::new(Remote::new(word.name(), address, Box::new(messages))))
}

impl Messages {
    /// What is the same in all messages of a chunk: before and behind the line's number.
    fn head(&self) -> (String, String) {
        let Syslog { facility, severity, app, host } = &self.head;
        let time = Timestamp::from_nanosecond((self.clock)().into()).unwrap_or_default();
        let time = time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
        let priority = u32::from(*facility) * 8 + u32::from(*severity);
        (format!("<{priority}>1 {time} {host} {app} {} event [meta sequenceId=\"", self.process), "\"] ".to_owned())
    }
}

impl Framing for Messages {
    fn pack(&self, chunk: &Chunk, packed: &mut Packed, datagrams: bool) {
        let (before, behind) = self.head();
        let lines = chunk.bytes.split_inclusive(|byte| *byte == b'\n');
        for (number, line) in (chunk.first..).zip(lines) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let number = (number.saturating_sub(1) % 0x7fff_ffff + 1).to_string();
            if !datagrams {
                let length = before.len() + number.len() + behind.len() + line.len();
                // Writing to a Vec does not fail.
                let _ = write!(packed.bytes, "{length} ");
            }
            for part in [before.as_bytes(), number.as_bytes(), behind.as_bytes(), line] {
                packed.bytes.extend_from_slice(part);
            }
            packed.ends.push(packed.bytes.len());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn packed(first: u64, datagrams: bool) -> Packed {
        let head = Syslog { facility: 16, severity: 5, app: "ctnl".into(), host: "h".into() };
        let messages = Messages { head, process: 7, clock: Arc::new(|| 1_700_000_000_123_456_789) };
        let chunk = Chunk { stream: "s".into(), first, lines: 2, bytes: b"{\"a\":1}\nb\n".to_vec() };
        let mut packed = Packed::default();
        messages.pack(&chunk, &mut packed, datagrams);
        packed
    }

    #[test]
    fn a_message_has_the_head_of_rfc_5424_and_its_length_before_it_in_a_stream() {
        let head = "<133>1 2023-11-14T22:13:20.123456Z h ctnl 7 event [meta sequenceId=";
        let (one, two) = (format!("{head}\"17\"] {{\"a\":1}}"), format!("{head}\"18\"] b"));
        let datagrams = packed(17, true);
        assert_eq!(String::from_utf8(datagrams.bytes).unwrap(), format!("{one}{two}"));
        assert_eq!(datagrams.ends, [one.len(), one.len() + two.len()]);
        let stream = String::from_utf8(packed(17, false).bytes).unwrap();
        assert_eq!(stream, format!("{} {one}{} {two}", one.len(), two.len()));
    }

    #[test]
    fn the_sequence_begins_again_with_one_as_the_rfc_wants() {
        let text = String::from_utf8(packed(0x7fff_ffff, true).bytes).unwrap();
        assert!(text.contains("\"2147483647\"") && text.contains("\"1\"] b"), "{text}");
    }
}
