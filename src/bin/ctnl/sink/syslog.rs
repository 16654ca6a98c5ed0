//! `syslog:`: RFC 5424 messages, as datagrams to a Unix socket or over UDP (RFC 5426), or with octet counting
//! over TCP (RFC 6587) and TLS (RFC 5425).
//!
//! The header's time is that of sending; the event's own is in the line. `sequenceId` is the
//! line's number, in the range that RFC 5424 section 7.3.1 defines: 1 to 2^31 - 1, then 1 again.
//! PROCID is the name of the line's stream: section 6.2.6 defines it as a value whose change shows a
//! discontinuity, and spooled lines are those of an earlier process.
//! Lines are not truncated: none exceeds 8 KiB, the default maximum of rsyslog and syslog-ng. If
//! the receive queue of a datagram socket is full, the sender blocks.

use std::io::Write;

use ctnl::clock::Clock;
use jiff::Timestamp;

use super::address;
use super::options::{SinkOptions, SyslogHeader};
use super::remote::{Endpoint, Framing, Packed, Remote, validate_tls};
use crate::chunk::Chunk;

/// The facilities, by number.
pub const FACILITIES: &[&str] = &[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// The severities, by number.
pub const SEVERITIES: &[&str] = &["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

const DEV_LOG: &str = "/dev/log";

/// Lines as messages.
struct SyslogFraming {
    header: SyslogHeader,
    clock: Clock,
}

/// Default ports: RFC 5425 section 4.1, RFC 5426 section 3.3.
const TLS_PORT: u16 = 6514;
const UDP_PORT: u16 = 514;

/// An address behind `syslog:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address<'a> {
    Socket(&'a str),
    Tcp(&'a str),
    Tls(&'a str),
    Udp(&'a str),
}

impl<'a> Address<'a> {
    pub fn parse(text: &'a str) -> Self {
        match text.split_once(':') {
            Some(("tcp", address)) => Address::Tcp(address),
            Some(("tls", address)) => Address::Tls(address),
            Some(("udp", address)) => Address::Udp(address),
            _ => Address::Socket(text),
        }
    }

    pub fn validate(self) -> Result<(), String> {
        match self {
            Address::Socket(_) => Ok(()),
            Address::Tcp(address) => address::validate(address, None),
            Address::Tls(address) => validate_tls(address, Some(TLS_PORT)),
            Address::Udp(address) => address::validate(address, Some(UDP_PORT)),
        }
    }

    fn endpoint(self, options: &SinkOptions) -> Result<Endpoint, String> {
        Ok(match self {
            Address::Socket("") => Endpoint::Datagram(DEV_LOG.into()),
            Address::Socket(path) => Endpoint::Datagram(path.into()),
            Address::Tcp(address) => Endpoint::Tcp(address.to_owned()),
            Address::Tls(address) => Endpoint::tls(address::with_port(address, TLS_PORT), options)?,
            Address::Udp(address) => Endpoint::Udp(address::with_port(address, UDP_PORT)),
        })
    }
}

/// The sink for an address.
pub fn connect(address: Address<'_>, options: &SinkOptions) -> Result<Remote, String> {
    let framing = SyslogFraming { header: options.syslog.clone(), clock: options.clock.clone() };
    Ok(Remote::new(address.endpoint(options)?, Box::new(framing), options.clock.clone()))
}

impl SyslogFraming {
    /// What all messages of a chunk have in common: the text before and behind the line's number.
    fn message_parts(&self, stream: &str) -> (String, String) {
        let SyslogHeader { facility, severity, app, host } = &self.header;
        let time = Timestamp::from_nanosecond(self.clock.now().realtime.0.into()).unwrap_or_default();
        let time = time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
        let priority = u32::from(*facility) * 8 + u32::from(*severity);
        let process = process_id(stream);
        (format!("<{priority}>1 {time} {host} {app} {process} event [meta sequenceId=\""), "\"] ".to_owned())
    }
}

/// The name of a stream as a PROCID: up to 128 printable ASCII characters, or `-`.
fn process_id(stream: &str) -> String {
    let name: String = stream.chars().filter(char::is_ascii_graphic).take(128).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

impl Framing for SyslogFraming {
    fn pack(&self, chunk: &Chunk, packed: &mut Packed, datagrams: bool) {
        let (before, behind) = self.message_parts(&chunk.stream);
        let lines = chunk.bytes.split_inclusive(|byte| *byte == b'\n');
        for (number, line) in (chunk.first..).zip(lines) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let number = (number.saturating_sub(1) % 0x7fff_ffff + 1).to_string();
            if !datagrams {
                let length = before.len() + number.len() + behind.len() + line.len();
                // A write to a Vec does not fail.
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
    use ctnl::clock::Time;
    use ctnl::units::Nanos;

    use super::*;

    fn packed(first: u64, datagrams: bool) -> Packed {
        let header = SyslogHeader { facility: 16, severity: 5, app: "ctnl".into(), host: "h".into() };
        let time = Time { monotonic: Nanos(1), realtime: Nanos(1_700_000_000_123_456_789) };
        let framing = SyslogFraming { header, clock: Clock::from_fn(move || time) };
        let chunk = Chunk { stream: "18f-7".into(), first, lines: 2, bytes: b"{\"a\":1}\nb\n".to_vec() };
        let mut packed = Packed::default();
        framing.pack(&chunk, &mut packed, datagrams);
        packed
    }

    #[test]
    fn a_message_has_the_rfc_5424_header_and_in_a_stream_its_length_before_it() {
        let head = "<133>1 2023-11-14T22:13:20.123456Z h ctnl 18f-7 event [meta sequenceId=";
        let (one, two) = (format!("{head}\"17\"] {{\"a\":1}}"), format!("{head}\"18\"] b"));
        let datagrams = packed(17, true);
        assert_eq!(String::from_utf8(datagrams.bytes).unwrap(), format!("{one}{two}"));
        assert_eq!(datagrams.ends, [one.len(), one.len() + two.len()]);
        let stream = String::from_utf8(packed(17, false).bytes).unwrap();
        assert_eq!(stream, format!("{} {one}{} {two}", one.len(), two.len()));
    }

    #[test]
    fn a_process_id_is_the_name_of_the_stream_as_far_as_rfc_5424_allows() {
        for (stream, process) in [("18f-7", "18f-7"), ("", "-"), ("a b\u{e9}\n", "ab")] {
            assert_eq!(process_id(stream), process);
        }
        assert_eq!(process_id(&"x".repeat(200)).len(), 128);
    }

    #[test]
    fn sequence_id_wraps_to_one_as_rfc_5424_requires() {
        let text = String::from_utf8(packed(0x7fff_ffff, true).bytes).unwrap();
        assert!(text.contains("\"2147483647\"") && text.contains("\"1\"] b"), "{text}");
    }
}
