//! `-E`: print events as they are received.
//!
//! One line for each event, and nothing else on standard output: no snapshot, and no records of what is missing. A
//! loss is reported on stderr, with its number.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use ctnl::age::IdleEstimator;
use ctnl::field::Subject;
use ctnl::host::Host;
use ctnl::model::{Event, EventKind, ExpectationEvent};
use ctnl::netlink::Netns;
use ctnl::output::{
    CONNTRACK, ClockSource, EventTime, EventWriter, ExpectationRecord, FlowRecord, Format, Record, Requester, SAVE,
    Writer, XML, XML_EVENTS,
};
use ctnl::table::{Events, Step, Subscription};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{criteria, message, output};
use crate::conntrack_syntax::{EventMask, Request};
use crate::host::process_by_portid::ProcessByPortid;
use crate::term::exit::Exit;
use crate::term::interrupt::Interrupt;

/// Bytes of lines that are written together while further events wait.
const BUFFER: usize = 64 * 1024;
/// Milliseconds of a wait: a signal that arrived just before it is noticed after it.
const WAIT: u16 = 500;

/// `-E` of entries.
pub fn flows(request: &Request, host: &Host) -> Result<Exit> {
    let filter = criteria::filter(request, host)?;
    let EventMask { new, update, destroy } = mask(request);
    let exclude = filter.exclusion();
    let subscription = Subscription { new, update, destroy, exclude, ..Subscription::default() };
    let is_xml = *output::format(request) == XML;
    let mut lines = EventLines::new(request, host, output::format(request))?;
    let events = subscribe(request, subscription)?;
    let mut names = ProcessByPortid::of(events.netns(), host.proc())?;
    let mut ages = IdleEstimator::without_timeouts(0);
    follow(events, &mut lines, |_, event, lines| {
        let (flow, kind, now) = (&event.flow, event.kind, host.clock.now());
        ages.now = now.realtime.0;
        let subject = &Subject::of_event(flow, &ages, kind);
        if !filter.matches(subject).is_match() {
            return;
        }
        let found = if is_xml { None } else { names.find(event.port, now.monotonic.into()) };
        let requester = (event.port != 0 && !is_xml).then(|| Requester {
            port: event.port,
            process: found.filter(|process| process.is_certain).map(|process| &*process.name),
            is_certain: found.is_some(),
        });
        let time = match flow.event_time {
            Some(ns) => EventTime { ns, clock: ClockSource::Kernel },
            None => EventTime { ns: now.realtime.0, clock: ClockSource::Received },
        };
        lines.add(&Record::Flow(FlowRecord {
            kind,
            synthetic: None,
            time,
            subject,
            start: None,
            killed: None,
            requester,
            netns: None,
            is_mark_implied: event.is_mark_implied,
        }));
    })?;
    lines.finish("flow events have been shown")
}

/// `-E` of expectations.
pub fn expectations(request: &Request, host: &Host) -> Result<Exit> {
    let mask = mask(request);
    let (new, update, destroy) = (false, false, false);
    let subscription = Subscription { new, update, destroy, expectations: true, ..Subscription::default() };
    let mut lines = EventLines::new(request, host, &CONNTRACK)?;
    let events = subscribe(request, subscription)?;
    follow(events, &mut lines, |events, _, lines| {
        let Some(Ok(event)) = events.message().map(|message| ExpectationEvent::decode(&message)) else {
            message::note("WARNING: an event of an expectation cannot be decoded");
            return;
        };
        let ExpectationEvent { kind, ref expectation, .. } = event;
        let is_wanted = match kind {
            EventKind::New => mask.new,
            EventKind::Update => mask.update,
            EventKind::Destroy => mask.destroy,
        };
        let time = EventTime { ns: host.clock.now().realtime.0, clock: ClockSource::Received };
        let (synthetic, requester, netns) = (None, None, None);
        if is_wanted {
            let record = ExpectationRecord { kind, synthetic, time, expectation, requester, netns };
            lines.add(&Record::Expectation(record));
        }
    })?;
    lines.finish("expectation events have been shown")
}

fn mask(request: &Request) -> EventMask {
    request.event_mask.unwrap_or(EventMask { new: true, update: true, destroy: true })
}

/// Subscribes with the queue of `-b`, whose size is printed.
fn subscribe(request: &Request, subscription: Subscription) -> Result<Events> {
    let default = subscription.buffer;
    let buffer = request.buffer_size.map_or(default, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let events = Events::subscribe(&Netns::Current, &Subscription { buffer, ..subscription })?;
    if request.buffer_size.is_some() {
        let capacity = events.buffer().capacity;
        message::note(&format!("NOTICE: Netlink socket buffer size has been set to {capacity} bytes."));
    }
    Ok(events)
}

/// Calls `each` with every event, until a signal or until nobody reads.
fn follow(
    mut events: Events,
    lines: &mut EventLines,
    mut each: impl FnMut(&Events, &Event, &mut EventLines),
) -> Result<()> {
    let (interrupt, mut event) = (Interrupt::listen()?, Event::blank());
    while !lines.is_reader_gone && !interrupt.requested() {
        match events.next(&mut event)? {
            Step::Empty => {
                lines.flush()?;
                wait(&events)?;
            }
            Step::Lost(lost) => {
                lines.flush()?;
                warn_of_loss(lost);
            }
            Step::Unreadable(error) => message::note(&format!("WARNING: an event cannot be decoded: {error}")),
            Step::Event | Step::Expectation => {
                each(&events, &event, lines);
                lines.flush_if_full()?;
            }
        }
    }
    Ok(())
}

fn warn_of_loss(lost: Option<u64>) {
    let number = lost.map_or("an unknown number of".to_owned(), |lost| lost.to_string());
    message::note(&format!(
        "WARNING: {number} events are missing here: the queue was full (ENOBUFS)\n  hint: a larger queue is --buffer-size \
         BYTES"
    ));
}

fn wait(events: &Events) -> Result<()> {
    let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(WAIT)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("wait for events"),
    }
}

/// The lines of events, written when the queue is empty.
#[derive(Debug)]
struct EventLines {
    writer: LineWriter,
    buffer: Vec<u8>,
    count: u64,
    is_reader_gone: bool,
}

#[derive(Debug)]
enum LineWriter {
    Text(EventWriter),
    Xml(EventWriter),
    /// The line of an entry, with the command that makes the same change.
    Save(Writer),
}

impl EventLines {
    fn new(request: &Request, host: &Host, format: &'static Format) -> Result<Self> {
        let options = output::options(request, host)?;
        let writer = match format {
            format if *format == SAVE => LineWriter::Save(format.writer(options)?),
            format if *format == XML => LineWriter::Xml(XML_EVENTS.event_writer(options)?),
            format => LineWriter::Text(format.event_writer(options)?),
        };
        Ok(EventLines { writer, buffer: Vec::with_capacity(BUFFER), count: 0, is_reader_gone: false })
    }

    fn add(&mut self, record: &Record<'_>) {
        let EventLines { writer, buffer, count, .. } = self;
        *count += 1;
        match (writer, record) {
            (LineWriter::Save(writer), Record::Flow(record)) => {
                let letter = match record.kind {
                    EventKind::New => b'A',
                    EventKind::Update => b'U',
                    EventKind::Destroy => b'D',
                };
                output::save_as(letter, writer, buffer, record.subject);
            }
            (LineWriter::Save(_), _) => {}
            (LineWriter::Text(writer) | LineWriter::Xml(writer), record) => {
                if *count == 1 {
                    writer.begin(buffer);
                }
                writer.record(buffer, *count, record);
            }
        }
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&self.buffer).and_then(|()| stdout.flush());
        self.buffer.clear();
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_reader_gone = true;
                Ok(())
            }
            written => written.context("write to standard output"),
        }
    }

    fn finish(&mut self, what: &str) -> Result<Exit> {
        if self.count > 0 && matches!(self.writer, LineWriter::Xml(_)) {
            self.buffer.extend_from_slice(b"</conntrack>\n");
        }
        self.flush()?;
        message::line(&format!("{} {what}.", self.count));
        Ok(Exit::Done)
    }
}
