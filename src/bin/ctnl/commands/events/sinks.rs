//! `--to` and the options of sinks.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use ctnl::host::Host;
use ctnl::output::{EventWriter, LineContext};

use super::{bytes, time};
use crate::sink::{
    Compression, FACILITIES, Mode, Rotation, SEVERITIES, SINK_KINDS, SinkOptions, SinkSpec, SyncPolicy, SyslogHeader,
    TlsFiles,
};
use crate::stream::{gap_formatter, header, line_test};
use crate::term::exit::usage;

const HEADING: &str = "Sinks (each --to gets every line)";

/// The sinks of the stream.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = HEADING)]
pub struct SinkArgs {
    /// Sink: standard output (-, the default), file:PATH[,mode=MODE], unix:PATH, tcp:HOST:PORT,
    /// tls:HOST:PORT, syslog:[PATH|tcp:HOST:PORT|tls:HOST[:PORT]|udp:HOST[:PORT]], journald:[PATH]
    /// or nats:URL/SUBJECT; may be given several times
    #[arg(long, value_name = "SINK", long_help = sinks_help())]
    to: Vec<String>,

    /// Queue limit of each sink in bytes of memory; standard output and files of mode block then
    /// apply backpressure: events stay in the socket's receive buffer
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = bytes)]
    queue_max: usize,

    /// Spool lines in this folder while a server, or a file of mode spool, is down; they are delivered in order, at least once,
    /// also after a restart
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,

    /// Spool limit of each sink in bytes; lines beyond it become a gap record
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = bytes, requires = "spool")]
    spool_max: usize,

    /// Keep lines in the spool for this time after JetStream (nats:) has acknowledged them, and send
    /// them again, with the same ids, if the stream has lost them
    ///
    /// nats-server writes to the disk every 2 minutes by default: a power loss of all replicas costs
    /// what it acknowledged since. Kept lines count against --spool-max, and give way to lines that wait.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "spool")]
    spool_keep: Option<Duration>,

    /// File with the credentials of `nats:`. Default: NATS_CREDS, NATS_USER and NATS_PASSWORD, or
    /// NATS_TOKEN of the environment, or the URL
    #[arg(long, value_name = "FILE")]
    nats_creds: Option<PathBuf>,

    /// File with the certificate authorities (PEM) that `tls:`, `syslog:tls:` and `nats:` trust.
    /// Default: those of the host
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// File with the client certificate (PEM) for `tls:`, `syslog:tls:` and `nats:`, followed by the
    /// intermediate ones; read again for each connection
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// File with the private key (PEM) of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Rotate a file before it exceeds this size
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    rotate_size: Option<usize>,

    /// Rotate files at multiples of this time: 24h is midnight UTC
    #[arg(long, value_name = "TIME", value_parser = time)]
    rotate_every: Option<Duration>,

    /// Keep this many rotated files
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rotate_keep: u32,

    /// Compress rotated files, on a thread of its own
    ///
    /// PATH.1 becomes PATH.1.gz or PATH.1.zst; the plain file is removed once the compressed one is on the disk.
    #[arg(long, value_name = "FORMAT", value_enum)]
    rotate_compress: Option<CompressArg>,

    /// Flush files to the disk: never (left to the kernel), at each rotation, or always (after each
    /// chunk of up to 256 KiB)
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = SyncArg::Rotate)]
    fsync: SyncArg,

    /// Facility and severity for syslog and the journal
    #[arg(long, value_name = "FACILITY.SEVERITY", default_value = "daemon.info", value_parser = priority)]
    syslog_priority: (u8, u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SyncArg {
    Never,
    Rotate,
    Always,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CompressArg {
    Gzip,
    #[cfg(feature = "zstd")]
    Zstd,
}

fn sinks_help() -> String {
    let mut text = String::from("Sink of the lines; may be given several times");
    for kind in SINK_KINDS {
        let backpressure =
            if kind.mode == Mode::Block && !kind.has_modes { "; applies backpressure when it is slow" } else { "" };
        let separator = if kind.syntax.len() > 30 { format!("\n  {:<30}", "") } else { String::new() };
        text.push_str(&format!("\n  {:<30}{separator} {}{backpressure}", kind.syntax, kind.doc));
    }
    text
}

fn priority(text: &str) -> Result<(u8, u8), String> {
    let (facility, severity) = text.split_once('.').ok_or("expected FACILITY.SEVERITY, e.g. daemon.info")?;
    let find = |names: &[&str], name: &str| {
        let index = names.iter().position(|known| *known == name).and_then(|index| u8::try_from(index).ok());
        index.ok_or_else(|| format!("unknown '{name}': expected one of {}", names.join(", ")))
    };
    Ok((find(FACILITIES, facility)?, find(SEVERITIES, severity)?))
}

impl SinkArgs {
    /// The sinks that were given; standard output where none was.
    pub fn specs(&self) -> Result<Vec<SinkSpec>> {
        if self.rotate_compress.is_some() && self.rotate_size.is_none() && self.rotate_every.is_none() {
            return Err(usage(
                "--rotate-compress: expected --rotate-size or --rotate-every too: without them no file is rotated",
            ));
        }
        let default = ["-".to_owned()];
        let typed = if self.to.is_empty() { &default } else { &*self.to };
        let specs: Vec<SinkSpec> = typed
            .iter()
            .map(|text| text.parse().map_err(|why| usage(format!("--to {text}: {why}"))))
            .collect::<Result<_>>()?;
        if let (None, Some(spec)) = (&self.spool, specs.iter().find(|spec| spec.requires_spool())) {
            return Err(usage(format!("--to {}: mode=spool needs --spool DIR", spec.text)));
        }
        if self.tls_files().are_given() && !specs.iter().any(SinkSpec::may_use_tls) {
            let hint = "use tls:HOST:PORT, syslog:tls:HOST or nats:tls://HOST/SUBJECT";
            return Err(usage(format!("--tls-ca and --tls-cert need a sink with TLS\n  hint: {hint}")));
        }
        Ok(specs)
    }

    fn tls_files(&self) -> TlsFiles {
        TlsFiles { authorities: self.tls_ca.clone(), certificate: self.tls_cert.clone(), key: self.tls_key.clone() }
    }

    /// The options of the sinks.
    pub fn options(&self, host: &Host, writer: &EventWriter, context: LineContext) -> SinkOptions {
        let (facility, severity) = self.syslog_priority;
        let hostname = host.kernel().read_text("hostname").unwrap_or_default();
        SinkOptions {
            queue_max: self.queue_max,
            spool: self.spool.clone(),
            spool_max: self.spool_max as u64,
            spool_keep: self.spool_keep,
            rotation: Rotation {
                size: self.rotate_size.map(|size| size as u64),
                every: self.rotate_every,
                keep: self.rotate_keep,
            },
            compression: self.rotate_compress.map(|format| match format {
                CompressArg::Gzip => Compression::Gzip,
                #[cfg(feature = "zstd")]
                CompressArg::Zstd => Compression::Zstd,
            }),
            sync: match self.fsync {
                SyncArg::Never => SyncPolicy::Never,
                SyncArg::Rotate => SyncPolicy::Rotate,
                SyncArg::Always => SyncPolicy::Always,
            },
            syslog: SyslogHeader::new(facility, severity, &hostname),
            clock: host.clock.clone(),
            format_gap: gap_formatter(writer.clone(), context),
            nats_credentials: self.nats_creds.clone(),
            tls: self.tls_files(),
            header: header(writer),
            is_own_line: line_test(writer.clone()),
        }
    }
}
