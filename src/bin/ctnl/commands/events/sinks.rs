//! `--to` and what goes with it: where the lines go.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use ctnl::host::Host;
use ctnl::output::{self, EventWriter, GapCause, Record};
use nix::unistd::geteuid;

use super::{bytes, time};
use crate::chunk::{Chunk, Outlet};
use crate::sink::{
    DropCause, FACILITIES, Gap, GapFormatter, Rotation, SEVERITIES, SINK_KINDS, SinkOptions, SinkSpec, Sinks,
    Statistics, SyncPolicy, SyslogHeader, Undelivered,
};
use crate::term::console::Console;
use crate::term::exit::usage;

const HEADING: &str = "Where to (several --to get the same lines)";

/// At the end, places that take no lines are waited for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the lines go.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = HEADING)]
pub struct SinkArgs {
    /// Standard output (-, the default), file:PATH, unix:PATH, tcp:HOST:PORT,
    /// syslog:[PATH|tcp:HOST:PORT], journald:[PATH] or nats:URL/SUBJECT; may be given several times
    #[arg(long, value_name = "WORD", long_help = places_help())]
    to: Vec<String>,

    /// Bytes of lines that may wait in memory. Standard output and files then hold the reading back:
    /// events are left in the socket's queue
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = bytes)]
    queue_max: usize,

    /// Folder in which lines wait for a server that is down. They are delivered in order, each at
    /// least once, also after a restart
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,

    /// Bytes that one place may have in the spool. What is more becomes a gap record
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = bytes, requires = "spool")]
    spool_max: usize,

    /// File with the credentials of `nats:`. Without it: NATS_CREDS, NATS_USER and NATS_PASSWORD, or
    /// NATS_TOKEN of the environment, or what the URL says
    #[arg(long, value_name = "FILE")]
    nats_creds: Option<PathBuf>,

    /// Begin a new file before it becomes larger than this
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    rotate_size: Option<usize>,

    /// Begin a new file at the multiples of this: 24h is midnight UTC
    #[arg(long, value_name = "TIME", value_parser = time)]
    rotate_every: Option<Duration>,

    /// Files before the current one that are kept
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rotate_keep: u32,

    /// When files are brought to the disk: never (by the kernel), rotate (when one is finished),
    /// always (after each chunk of up to 256 KiB)
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = SyncArg::Rotate)]
    fsync: SyncArg,

    /// Facility and severity in syslog and the journal
    #[arg(long, value_name = "FACILITY.SEVERITY", default_value = "daemon.info", value_parser = priority)]
    syslog_priority: (u8, u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SyncArg {
    Never,
    Rotate,
    Always,
}

fn places_help() -> String {
    let mut text = String::from("Where the lines go; may be given several times");
    for kind in SINK_KINDS {
        let backpressure = if kind.applies_backpressure { "; applies backpressure when it is slow" } else { "" };
        text.push_str(&format!("\n  {:<30} {}{backpressure}", kind.syntax, kind.doc));
    }
    text
}

fn priority(text: &str) -> Result<(u8, u8), String> {
    let (facility, severity) = text.split_once('.').ok_or("it is written FACILITY.SEVERITY: daemon.info")?;
    let find = |names: &[&str], name: &str| {
        let place = names.iter().position(|known| *known == name).and_then(|place| u8::try_from(place).ok());
        place.ok_or_else(|| format!("`{name}` is none of {}", names.join(", ")))
    };
    Ok((find(FACILITIES, facility)?, find(SEVERITIES, severity)?))
}

impl SinkArgs {
    /// The places that were typed; standard output where none was.
    pub fn specs(&self) -> Result<Vec<SinkSpec>> {
        let default = ["-".to_owned()];
        let typed = if self.to.is_empty() { &default } else { &*self.to };
        typed.iter().map(|text| text.parse().map_err(|why| usage(format!("--to {text}: {why}")))).collect()
    }

    /// Opens them, privileges having been `dropped` or not.
    pub fn open(&self, specs: &[SinkSpec], writer: &EventWriter, host: &Host, dropped: bool) -> Result<Places> {
        let (facility, severity) = self.syslog_priority;
        let hostname = host.kernel().read_text("hostname").unwrap_or_default();
        let options = SinkOptions {
            queue_max: self.queue_max,
            spool: self.spool.clone(),
            spool_max: self.spool_max as u64,
            rotation: Rotation {
                size: self.rotate_size.map(|size| size as u64),
                every: self.rotate_every,
                keep: self.rotate_keep,
            },
            sync: match self.fsync {
                SyncArg::Never => SyncPolicy::Never,
                SyncArg::Rotate => SyncPolicy::Rotate,
                SyncArg::Always => SyncPolicy::Always,
            },
            syslog: SyslogHeader::new(facility, severity, &hostname),
            clock: host.clock.clone(),
            format_gap: gap_formatter(writer.clone()),
            nats_credentials: self.nats_creds.clone(),
            header: header(writer),
        };
        let sinks = Sinks::open(specs, &options).map_err(|error| if dropped { with_hint(error) } else { error })?;
        Ok(Places(Rc::new(RefCell::new(sinks))))
    }
}

/// Root without its privileges is an ordinary user to files. Opening them before would only
/// delay that to the first rotation.
fn with_hint(error: Error) -> Error {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    if !geteuid().is_root() || !error.chain().filter_map(|cause| cause.downcast_ref()).any(denied) {
        return error;
    }
    anyhow!(
        "{error:#}: the privilege to write where other users own the folder or the file was given up\n  \
         hint: write to a folder of root, or run as the user who owns it, or --keep-privileges"
    )
}

/// What the format puts before all lines.
fn header(writer: &EventWriter) -> Arc<[u8]> {
    let mut header = Vec::new();
    writer.begin(&mut header);
    header.into()
}

/// How a gap in the stream to one place is written.
fn gap_formatter(writer: EventWriter) -> GapFormatter {
    let writer = Mutex::new(writer);
    Arc::new(move |gap: &Gap| {
        let mut line = Vec::new();
        let &Gap { cause, first, lines: lost, from, to, .. } = gap;
        let cause = match cause {
            DropCause::Queue => GapCause::Queue,
            DropCause::Spool => GapCause::Spool,
            DropCause::Refused => GapCause::Refused,
        };
        let record = Record::Gap(output::Gap { cause, lost, from, to, netns: None });
        writer.lock().unwrap_or_else(PoisonError::into_inner).record(&mut line, first, &record);
        line
    })
}

/// The places, for who fills them and who looks after them.
#[derive(Clone)]
pub struct Places(Rc<RefCell<Sinks>>);

impl Places {
    /// Whether nobody reads any more.
    pub fn have_ended(&self) -> bool {
        self.0.borrow().have_ended()
    }

    /// Files are to be opened anew.
    pub fn hangup(&self) {
        self.0.borrow().reopen();
    }

    /// Returns and clears the messages of the sinks for the operator.
    pub fn take_warnings(&self) -> Vec<String> {
        self.0.borrow().take_warnings()
    }

    /// How each of them is doing.
    pub fn statistics(&self) -> Vec<Statistics> {
        self.0.borrow().statistics()
    }

    /// Delivers what waits, as far as it goes; how many lines are lost.
    pub fn finish(self, console: &mut Console) -> u64 {
        let Ok(sinks) = Rc::try_unwrap(self.0) else { return 0 };
        let mut sinks = sinks.into_inner();
        // Whoever closed standard output wants no more.
        let ended: Vec<String> =
            sinks.statistics().into_iter().filter(|place| place.ended).map(|place| place.name).collect();
        let mut lost = 0;
        let undelivered = sinks.finish(PATIENCE);
        for warning in sinks.take_warnings() {
            console.warn(&warning);
        }
        report_dropped(&sinks, console);
        for place in undelivered {
            if ended.contains(&place.name) {
                continue;
            }
            let why = place.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            if place.lost > 0 {
                console.warn(&format!("sink {}: {} lines not delivered{why}", place.name, place.lost));
            }
            if place.spooled > 0 {
                let Undelivered { name, spooled, .. } = &place;
                console.note(&format!("sink {name}: {spooled} bytes left in the spool for the next run{why}"));
            }
            lost += place.lost;
        }
        lost
    }
}

/// Reports dropped lines: the format may have no record for a gap.
fn report_dropped(sinks: &Sinks, console: &mut Console) {
    for Statistics { name, dropped, .. } in sinks.statistics().iter().filter(|place| place.dropped > 0 && !place.ended)
    {
        console.warn(&format!("sink {name}: {dropped} lines dropped in total"));
    }
}

impl Outlet for Places {
    fn has_room(&self) -> bool {
        self.0.borrow().has_room()
    }

    fn put(&mut self, chunk: Arc<Chunk>) {
        self.0.borrow_mut().put(chunk);
    }
}
