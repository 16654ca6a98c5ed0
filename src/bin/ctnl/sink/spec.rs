//! The argument of `--to`, and the registry of sink kinds.

use std::str::FromStr;

use anyhow::{Result, anyhow};

use super::deliver::Deliver;
#[cfg(feature = "nats")]
use super::nats;
use super::options::SinkOptions;
use super::{file, journald, remote, stdout, syslog};

/// One kind of sink: a row of the registry.
#[derive(Debug)]
pub struct SinkKind {
    /// What the argument begins with.
    pub prefix: &'static str,
    /// The syntax of the whole argument.
    pub syntax: &'static str,
    /// What it is, for the help.
    pub doc: &'static str,
    /// Whether a full queue stops the reader, so that the kernel's queue fills and the kernel
    /// counts the loss. The other kinds can be down for long: their lines are spooled, or dropped
    /// and counted.
    pub applies_backpressure: bool,
    /// Whether SIGHUP reopens it.
    pub is_reopened: bool,
    /// Creates it. Opens files; connections are made later.
    pub open: fn(&SinkSpec, &SinkOptions) -> Result<Box<dyn Deliver>>,
    /// Checks what follows the prefix.
    validate: fn(&str) -> std::result::Result<(), String>,
}

/// Every kind of sink.
pub const SINK_KINDS: &[SinkKind] = &[
    SinkKind {
        prefix: "-",
        syntax: "-",
        doc: "standard output",
        applies_backpressure: true,
        is_reopened: false,
        open: open_stdout,
        validate: nothing,
    },
    SinkKind {
        prefix: "file:",
        syntax: "file:PATH",
        doc: "append to a file; rotated by --rotate-size and --rotate-every, reopened on SIGHUP",
        applies_backpressure: true,
        is_reopened: true,
        open: open_file,
        validate: path,
    },
    SinkKind {
        prefix: "unix:",
        syntax: "unix:PATH",
        doc: "lines to a Unix stream socket",
        applies_backpressure: false,
        is_reopened: false,
        open: connect_unix,
        validate: path,
    },
    SinkKind {
        prefix: "tcp:",
        syntax: "tcp:HOST:PORT",
        doc: "lines over TCP",
        applies_backpressure: false,
        is_reopened: false,
        open: connect_tcp,
        validate: host_and_port,
    },
    SinkKind {
        prefix: "syslog:",
        syntax: "syslog:[PATH|tcp:HOST:PORT]",
        doc: "RFC 5424 messages to /dev/log or another Unix socket, or over TCP with octet counting",
        applies_backpressure: false,
        is_reopened: false,
        open: connect_syslog,
        validate: syslog_address,
    },
    SinkKind {
        prefix: "journald:",
        syntax: "journald:[PATH]",
        doc: "the systemd journal, in its native protocol",
        applies_backpressure: false,
        is_reopened: false,
        open: connect_journald,
        validate: anything,
    },
    SinkKind {
        prefix: "nats:",
        syntax: "nats:URL/SUBJECT",
        doc: "a NATS JetStream subject; each line is acknowledged and has an id for deduplication",
        applies_backpressure: false,
        is_reopened: false,
        open: connect_nats,
        validate: nats_address,
    },
];

/// A parsed argument of `--to`.
#[derive(Debug, Clone)]
pub struct SinkSpec {
    /// The whole argument, as it was typed.
    pub text: String,
    /// What follows the prefix.
    pub address: String,
    /// The kind of sink.
    pub kind: &'static SinkKind,
}

impl SinkSpec {
    /// The argument without a password: the sink's name in messages, and that of its spool.
    pub fn name(&self) -> String {
        match (self.text.find("://"), self.text.rfind('@')) {
            (Some(scheme), Some(at)) if scheme < at => {
                let (before, after) = (self.text.get(..scheme + 3), self.text.get(at + 1..));
                format!("{}{}", before.unwrap_or_default(), after.unwrap_or_default())
            }
            _ => self.text.clone(),
        }
    }
}

impl FromStr for SinkSpec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let kind = SINK_KINDS.iter().find(|kind| text.starts_with(kind.prefix)).ok_or_else(|| {
            let syntaxes: Vec<_> = SINK_KINDS.iter().map(|kind| kind.syntax).collect();
            format!("unknown sink: expected {}", syntaxes.join(", "))
        })?;
        let address = text.strip_prefix(kind.prefix).unwrap_or_default();
        (kind.validate)(address).map_err(|why| format!("{why}: expected {}", kind.syntax))?;
        Ok(SinkSpec { text: text.to_owned(), address: address.to_owned(), kind })
    }
}

fn open_stdout(_: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    Ok(Box::new(stdout::StdoutSink::open(options)?))
}

fn open_file(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    Ok(Box::new(file::FileSink::open(&spec.address, options)?))
}

fn connect_unix(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    let endpoint = remote::Endpoint::Unix(spec.address.clone().into());
    Ok(Box::new(remote::Remote::plain(endpoint, options)))
}

fn connect_tcp(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    let endpoint = remote::Endpoint::Tcp(spec.address.clone());
    Ok(Box::new(remote::Remote::plain(endpoint, options)))
}

fn connect_syslog(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    Ok(Box::new(syslog::connect(&spec.address, options)))
}

fn connect_journald(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    Ok(Box::new(journald::connect(&spec.address, options)))
}

#[cfg(feature = "nats")]
fn connect_nats(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    let environment = |name: &str| std::env::var(name).ok();
    let nats = nats::Nats::new(&spec.address, options.nats_credentials.as_deref(), environment);
    nats.map(|nats| Box::new(nats) as Box<dyn Deliver>).map_err(|why| anyhow!("{}: {why}", spec.name()))
}

#[cfg(not(feature = "nats"))]
fn connect_nats(spec: &SinkSpec, _: &SinkOptions) -> Result<Box<dyn Deliver>> {
    Err(anyhow!("{}: this ctnl was built without NATS\n  hint: cargo build --features nats", spec.name()))
}

fn anything(_: &str) -> std::result::Result<(), String> {
    Ok(())
}

fn nothing(address: &str) -> std::result::Result<(), String> {
    if address.is_empty() { Ok(()) } else { Err(format!("unexpected '{address}' after '-'")) }
}

fn path(address: &str) -> std::result::Result<(), String> {
    if address.is_empty() { Err("missing path".into()) } else { Ok(()) }
}

fn host_and_port(address: &str) -> std::result::Result<(), String> {
    let (host, port) = address.rsplit_once(':').ok_or("missing port")?;
    if host.is_empty() {
        return Err("missing host".into());
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(format!("IPv6 address '{host}' without brackets"));
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => Err(format!("not a port: '{port}'")),
    }
}

fn syslog_address(address: &str) -> std::result::Result<(), String> {
    address.strip_prefix("tcp:").map_or(Ok(()), host_and_port)
}

#[cfg(feature = "nats")]
fn nats_address(address: &str) -> std::result::Result<(), String> {
    nats::validate(address)
}

#[cfg(not(feature = "nats"))]
fn nats_address(_: &str) -> std::result::Result<(), String> {
    Err("this ctnl was built without NATS (cargo build --features nats)".into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_unique_prefix_a_syntax_and_a_doc() {
        for (index, kind) in SINK_KINDS.iter().enumerate() {
            assert!(kind.syntax.starts_with(kind.prefix) && !kind.doc.is_empty(), "{}", kind.prefix);
            assert!(SINK_KINDS[..index].iter().all(|other| !kind.prefix.starts_with(other.prefix)), "{}", kind.prefix);
        }
    }

    #[test]
    fn an_argument_is_split_behind_the_prefix_of_its_kind() {
        for (text, prefix, address) in [
            ("-", "-", ""),
            ("file:/a:b", "file:", "/a:b"),
            ("unix:/run/x", "unix:", "/run/x"),
            ("tcp:[::1]:514", "tcp:", "[::1]:514"),
            ("syslog:", "syslog:", ""),
            ("syslog:/run/log", "syslog:", "/run/log"),
            ("syslog:tcp:a:514", "syslog:", "tcp:a:514"),
            ("journald:", "journald:", ""),
            ("nats:nats://a:4222/ct.events", "nats:", "nats://a:4222/ct.events"),
            ("nats:a/x", "nats:", "a/x"),
        ] {
            if prefix == "nats:" && cfg!(not(feature = "nats")) {
                continue;
            }
            let spec: SinkSpec = text.parse().unwrap();
            assert_eq!((spec.kind.prefix, &*spec.address, &*spec.text), (prefix, address, text));
        }
    }

    #[test]
    fn a_name_contains_no_password() {
        let name = |text: &str| text.parse::<SinkSpec>().unwrap().name();
        #[cfg(feature = "nats")]
        assert_eq!(name("nats:nats://me:secret@a:4222/x"), "nats:nats://a:4222/x");
        assert_eq!(name("file:/a@b"), "file:/a@b");
    }

    #[test]
    fn an_invalid_argument_is_refused_with_the_expected_syntax() {
        for text in [
            "",
            "x",
            "-x",
            "file:",
            "tcp:a",
            "tcp::1",
            "tcp:a:0",
            "tcp:::1:5",
            "syslog:tcp:a",
            "nats:a",
            "nats:nats://a/",
        ] {
            let why = text.parse::<SinkSpec>().unwrap_err();
            let kind = SINK_KINDS.iter().find(|kind| text.starts_with(kind.prefix));
            let syntax = kind.map_or("-, file:PATH, unix:PATH", |kind| kind.syntax);
            assert!(why.contains(&format!(": expected {syntax}")), "{text}: {why}");
        }
    }
}
