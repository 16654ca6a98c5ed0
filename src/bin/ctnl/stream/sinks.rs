//! The sinks of a stream, shared by the event loop that fills them and the environment that
//! watches them.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use ctnl::clock::Clock;
use ctnl::output::{EventWriter, GapCause, GapRecord, LineContext, Record};
use nix::unistd::geteuid;

use crate::chunk::{Chunk, Outlet};
use crate::host::sd_notify::SdNotify;
use crate::sink::{DropCause, Gap, GapFormatter, LineTest, SinkOptions, SinkSpec, Sinks, Statistics};
use crate::term::console::Console;

/// At the end, sinks that are down get this much time.
const DELIVERY_TIME: Duration = Duration::from_secs(10);
/// Delivering and then spooling a full queue takes less, unless the disk hangs. It is the `TimeoutStopSec` of
/// the packaged unit.
const FINISH_TIME: Duration = Duration::from_secs(60);

/// The header of the format, which every file and connection begins with.
pub fn header(writer: &EventWriter) -> Arc<[u8]> {
    let mut header = Vec::new();
    writer.begin(&mut header);
    header.into()
}

/// Recognises the lines of the format.
pub fn line_test(writer: EventWriter) -> LineTest {
    let writer = Mutex::new(writer);
    Arc::new(move |line: &[u8]| writer.lock().unwrap_or_else(PoisonError::into_inner).is_line(line))
}

/// Formats the gap record of one sink. `context` is that of the other lines; the stream may be one of
/// an earlier run, whose lines were in the spool.
pub fn gap_formatter(writer: EventWriter, context: LineContext) -> GapFormatter {
    let writer = Mutex::new((writer, context));
    Arc::new(move |gap: &Gap| {
        let mut line = Vec::new();
        let &Gap { cause, first, lines: lost, from, to, .. } = gap;
        let cause = match cause {
            DropCause::Queue => GapCause::Queue,
            DropCause::Spool => GapCause::Spool,
            DropCause::Refused => GapCause::Refused,
        };
        let record = Record::Gap(GapRecord { cause, lost: Some(lost), from, to, netns: None });
        let mut locked = writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (writer, context) = &mut *locked;
        if *context.stream != *gap.stream {
            context.stream = gap.stream.to_string();
            writer.set_context(context);
        }
        writer.record(&mut line, first, &record);
        line
    })
}

/// Opens the sinks. `is_unprivileged`: privileges have been dropped before.
pub fn open(sinks: &[SinkSpec], options: &SinkOptions, is_unprivileged: bool) -> Result<SharedSinks> {
    let sinks = Sinks::open(sinks, options).map_err(|error| if is_unprivileged { with_hint(error) } else { error })?;
    Ok(SharedSinks(Rc::new(RefCell::new(sinks))))
}

/// Without CAP_DAC_OVERRIDE root has the permissions of an ordinary user. Opening files before
/// the privileges are dropped would only delay the error to the first rotation.
fn with_hint(error: Error) -> Error {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    if !geteuid().is_root() || !error.chain().filter_map(|cause| cause.downcast_ref()).any(denied) {
        return error;
    }
    anyhow!(
        "{error:#}: CAP_DAC_OVERRIDE has been dropped, so files and folders of other users cannot be written\n  hint: \
         write to a folder of root, run as the user who owns it, or use --keep-privileges"
    )
}

/// The sinks of a stream.
#[derive(Clone)]
pub struct SharedSinks(Rc<RefCell<Sinks>>);

impl SharedSinks {
    /// Whether every reader has closed its end.
    pub fn have_ended(&self) -> bool {
        self.0.borrow().have_ended()
    }

    /// Begins to reopen files.
    pub fn reopen(&self) {
        self.0.borrow().reopen();
    }

    /// Whether all files have been reopened.
    pub fn are_reopened(&self) -> bool {
        self.0.borrow().are_reopened()
    }

    /// Returns and clears the messages of the sinks for the operator.
    pub fn take_warnings(&self) -> Vec<String> {
        self.0.borrow().take_warnings()
    }

    /// The state of each sink.
    pub fn statistics(&self) -> Vec<Statistics> {
        self.0.borrow().statistics()
    }

    /// Delivers what is queued, as far as possible, and meanwhile notifies the service manager's watchdog. Returns the number of lines that are lost.
    pub fn finish(self, console: &mut Console, manager: Option<SdNotify>, clock: &Clock) -> u64 {
        let Ok(sinks) = Rc::try_unwrap(self.0) else { return 0 };
        let mut sinks = sinks.into_inner();
        // A closed standard output is a normal end.
        let ended: Vec<String> =
            sinks.statistics().into_iter().filter(|sink| sink.ended).map(|sink| sink.name).collect();
        let mut lost = 0;
        let undelivered = watched(manager, clock, || sinks.finish(DELIVERY_TIME));
        sinks.take_warnings().iter().for_each(|warning| console.warn(warning));
        report_dropped(&sinks, console);
        for sink in undelivered {
            if ended.contains(&sink.name) {
                continue;
            }
            let why = sink.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            if sink.lost > 0 {
                console.warn(&format!("sink {}: {} lines not delivered{why}", sink.name, sink.lost));
            }
            if sink.spooled > 0 {
                console.note(&format!(
                    "sink {}: {} bytes left in the spool for the next run{why}",
                    sink.name, sink.spooled
                ));
            }
            lost += sink.lost;
        }
        lost
    }
}

/// Runs `work`, which has a limit of its own, while the watchdog of the service manager gets its messages.
/// After [`FINISH_TIME`] it gets none: a disk that does not answer has no limit.
fn watched<T>(manager: Option<SdNotify>, clock: &Clock, work: impl FnOnce() -> T) -> T {
    let notify = manager.and_then(|manager| manager.longest_wait().map(|wait| (manager, wait)));
    let Some((mut manager, wait)) = notify else { return work() };
    thread::scope(|scope| {
        let (running, until_dropped) = channel::<()>();
        let end = clock.now().monotonic.plus(FINISH_TIME.into());
        let watchdog = thread::Builder::new().name("watchdog".into());
        // Without the thread the watchdog may restart the service: nothing is lost by trying.
        let _ = watchdog.spawn_scoped(scope, move || {
            let mut now = clock.now().monotonic;
            while now < end && until_dropped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                now = clock.now().monotonic;
                manager.alive(now.into());
            }
        });
        let result = work();
        drop(running);
        result
    })
}

/// Lines that gap records stand for; a format may have no line for a gap.
fn report_dropped(sinks: &Sinks, console: &mut Console) {
    for Statistics { name, dropped, .. } in sinks.statistics().iter().filter(|sink| sink.dropped > 0 && !sink.ended) {
        console.warn(&format!("sink {name}: {dropped} lines dropped in total"));
    }
}

impl Outlet for SharedSinks {
    fn has_capacity(&self) -> bool {
        self.0.borrow().has_capacity()
    }

    fn put(&mut self, chunk: Arc<Chunk>) {
        self.0.borrow_mut().put(chunk);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::output::{CSV, JSON, WriterOptions};

    use super::*;

    #[test]
    fn a_gap_in_the_stream_of_an_earlier_run_has_the_name_of_that_stream() {
        for format in [&JSON, &CSV] {
            let mut writer = format.event_writer(WriterOptions::default()).unwrap();
            let context = LineContext { stream: "now".into(), host: Some("h".into()), ..LineContext::default() };
            writer.set_context(&context);
            let format_gap = gap_formatter(writer, context);
            for stream in ["now", "earlier", "now"] {
                let gap = Gap { stream: stream.into(), cause: DropCause::Spool, first: 7, lines: 3, from: 0, to: 1 };
                let line = String::from_utf8(format_gap(&gap)).unwrap();
                let others = ["now", "earlier"].into_iter().filter(|other| *other != stream);
                assert!(line.contains(stream) && others.into_iter().all(|other| !line.contains(other)), "{line}");
            }
        }
    }
}
