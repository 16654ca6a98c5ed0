//! The argument of `--to`, and the registry of sink kinds.

use std::str::FromStr;

use anyhow::{Result, anyhow};

use super::deliver::Deliver;
#[cfg(feature = "nats")]
use super::nats;
use super::options::SinkOptions;
use super::{address, file, journald, remote, stdout, syslog};

/// What becomes of lines while a sink is down or slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A full queue stops the reader, so that the kernel's queue fills and the kernel counts the loss.
    Block,
    /// They are moved to the spool if there is one, and dropped and counted when that and the queue
    /// are full.
    Spool,
    /// They are dropped and counted when the queue is full.
    Drop,
}

/// The modes of a sink that has the choice, by their names.
const MODES: &[(&str, Mode)] = &[("block", Mode::Block), ("spool", Mode::Spool), ("drop", Mode::Drop)];

/// One kind of sink: a row of the registry.
#[derive(Debug)]
pub struct SinkKind {
    /// What the argument begins with.
    pub prefix: &'static str,
    /// The syntax of the whole argument.
    pub syntax: &'static str,
    /// What it is, for the help.
    pub doc: &'static str,
    /// What becomes of lines while it is down or slow. A server can be down for long.
    pub mode: Mode,
    /// Whether `,mode=MODE` at the end of the argument chooses another mode.
    pub has_modes: bool,
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
        mode: Mode::Block,
        has_modes: false,
        is_reopened: false,
        open: open_stdout,
        validate: nothing,
    },
    SinkKind {
        prefix: "file:",
        syntax: "file:PATH[,mode=block|spool|drop]",
        doc: "append to a file; rotated by --rotate-size and --rotate-every, reopened on SIGHUP. While its disk is \
              full: block applies backpressure, which also stops the other sinks; spool moves lines to --spool; drop \
              drops what exceeds --queue-max. The default is block",
        mode: Mode::Block,
        has_modes: true,
        is_reopened: true,
        open: open_file,
        validate: path,
    },
    SinkKind {
        prefix: "unix:",
        syntax: "unix:PATH",
        doc: "lines to a Unix stream socket",
        mode: Mode::Spool,
        has_modes: false,
        is_reopened: false,
        open: connect_unix,
        validate: path,
    },
    SinkKind {
        prefix: "tcp:",
        syntax: "tcp:HOST:PORT",
        doc: "lines over TCP",
        mode: Mode::Spool,
        has_modes: false,
        is_reopened: false,
        open: connect_tcp,
        validate: host_and_port,
    },
    SinkKind {
        prefix: "tls:",
        syntax: "tls:HOST:PORT",
        doc: "lines over TLS; the server is verified (--tls-ca)",
        mode: Mode::Spool,
        has_modes: false,
        is_reopened: false,
        open: connect_tls,
        validate: tls_address,
    },
    SinkKind {
        prefix: "syslog:",
        syntax: "syslog:[PATH|tcp:HOST:PORT|tls:HOST[:PORT]|udp:HOST[:PORT]]",
        doc: "RFC 5424 messages to /dev/log or another Unix socket, over TCP or TLS (port 6514) with octet counting, or \
              over UDP (port 514), which loses lines silently",
        mode: Mode::Spool,
        has_modes: false,
        is_reopened: false,
        open: connect_syslog,
        validate: syslog_address,
    },
    SinkKind {
        prefix: "journald:",
        syntax: "journald:[PATH]",
        doc: "the systemd journal, in its native protocol",
        mode: Mode::Spool,
        has_modes: false,
        is_reopened: false,
        open: connect_journald,
        validate: anything,
    },
    SinkKind {
        prefix: "nats:",
        syntax: "nats:URL/SUBJECT",
        doc: "a NATS JetStream subject; each line is acknowledged and has an id for deduplication",
        mode: Mode::Spool,
        has_modes: false,
        is_reopened: false,
        open: connect_nats,
        validate: nats_address,
    },
];

impl SinkKind {
    /// Splits what follows the prefix into the address and the mode.
    fn split_mode<'a>(&self, text: &'a str) -> std::result::Result<(&'a str, Mode), String> {
        let Some((address, name)) = text.rsplit_once(",mode=").filter(|_| self.has_modes) else {
            return Ok((text, self.mode));
        };
        let mode = MODES.iter().find(|(known, _)| *known == name);
        mode.map(|(_, mode)| (address, *mode)).ok_or_else(|| format!("unknown mode '{name}'"))
    }
}

/// A parsed argument of `--to`.
#[derive(Debug, Clone)]
pub struct SinkSpec {
    /// The whole argument, as it was typed.
    pub text: String,
    /// What follows the prefix, without the mode.
    pub address: String,
    /// The kind of sink.
    pub kind: &'static SinkKind,
    /// What becomes of lines while it is down or slow.
    pub mode: Mode,
}

impl SinkSpec {
    /// Whether its mode makes no sense without a spool.
    pub fn requires_spool(&self) -> bool {
        self.kind.has_modes && self.mode == Mode::Spool
    }

    /// Whether it may use TLS.
    pub fn may_use_tls(&self) -> bool {
        match self.kind.prefix {
            "tls:" | "nats:" => true,
            "syslog:" => matches!(syslog::Address::parse(&self.address), syslog::Address::Tls(_)),
            _ => false,
        }
    }

    /// The argument without a mode and without a password: the sink's name in messages, and that of
    /// its spool.
    pub fn name(&self) -> String {
        let text = format!("{}{}", self.kind.prefix, self.address);
        match (text.find("://"), text.rfind('@')) {
            (Some(scheme), Some(at)) if scheme < at => {
                let (before, after) = (text.get(..scheme + 3), text.get(at + 1..));
                format!("{}{}", before.unwrap_or_default(), after.unwrap_or_default())
            }
            _ => text,
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
        let (address, mode) = kind.split_mode(address).map_err(|why| format!("{why}: expected {}", kind.syntax))?;
        (kind.validate)(address).map_err(|why| format!("{why}: expected {}", kind.syntax))?;
        Ok(SinkSpec { text: text.to_owned(), address: address.to_owned(), kind, mode })
    }
}

fn open_stdout(_: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    Ok(Box::new(stdout::StdoutSink::open(options)?))
}

fn open_file(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    Ok(Box::new(file::FileSink::open(&spec.address, spec.mode != Mode::Block, options)?))
}

fn connect_unix(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    let endpoint = remote::Endpoint::Unix(spec.address.clone().into());
    Ok(Box::new(remote::Remote::plain(endpoint, options)))
}

fn connect_tcp(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    let endpoint = remote::Endpoint::Tcp(spec.address.clone());
    Ok(Box::new(remote::Remote::plain(endpoint, options)))
}

fn connect_tls(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    let endpoint = remote::Endpoint::tls(spec.address.clone(), options);
    let endpoint = endpoint.map_err(|why| anyhow!("{}: {why}", spec.name()))?;
    Ok(Box::new(remote::Remote::plain(endpoint, options)))
}

fn connect_syslog(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    let sink = syslog::connect(syslog::Address::parse(&spec.address), options);
    Ok(Box::new(sink.map_err(|why| anyhow!("{}: {why}", spec.name()))?))
}

fn connect_journald(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    Ok(Box::new(journald::connect(&spec.address, options)))
}

#[cfg(feature = "nats")]
fn connect_nats(spec: &SinkSpec, options: &SinkOptions) -> Result<Box<dyn Deliver>> {
    let environment = |name: &str| std::env::var(name).ok();
    let nats = nats::Nats::new(&spec.address, options.nats_credentials.as_deref(), &options.tls, environment);
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
    address::validate(address, None)
}

fn tls_address(address: &str) -> std::result::Result<(), String> {
    remote::validate_tls(address, None)
}

fn syslog_address(address: &str) -> std::result::Result<(), String> {
    syslog::Address::parse(address).validate()
}

#[cfg(feature = "nats")]
fn nats_address(address: &str) -> std::result::Result<(), String> {
    nats::validate(address)
}

#[cfg(not(feature = "nats"))]
fn nats_address(_: &str) -> std::result::Result<(), String> {
    Err("this ctnl was built without NATS (cargo build --features nats)".into())
}
