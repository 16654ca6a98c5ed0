//! `ctnl top`.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::units::Seconds;

use super::args::{CommonArgs, FilterArgs};
use super::purging;
use crate::host::{files, procfs};
use crate::purge::Task;
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;
use crate::term::limits::raise_open_files;
use crate::term::stdout::{Delivered, written};
use crate::top::{
    self, Column, Environment, Frame, Frames, History, Kill, Live, Look, Pace, RECORDED_ROWS, Recorder, Recording,
    Replay, Sampler, Screen, ShownFilter, SortOrder, Source, View, Wanted, argument_of, cut_filter_note, frame_as_json,
    frame_as_text, processor_time, rest,
};

/// Rows that the screen can scroll to.
const ROWS: u16 = 500;
/// The timeout of entries that are to expire soon, in seconds.
const SOFT: u32 = 10;

const EXAMPLES: &str = "\
Examples:
  ctnl top
      The screen: the sources with most entries first; ? shows the keys.
  ctnl top --by state --netns blue tcp
  ctnl top --batch -n 1
      One frame, after an interval of 2 s: for a ticket.
  ctnl top --batch --by port --sort new --rows 5 udp
      The five ports with most new UDP entries, every 2 s.
  ctnl top --batch --json --interval 10s
      A JSON object for each frame (docs/top.md).
  ctnl top --all-netns
      Sums over all network namespaces of the host; e shows the namespaces, Enter narrows to one.
  ctnl top --batch --record night.top
      Also write all views to a file, a frame every 10 s.
  ctnl top --replay night.top
      Play it, with the same keys.

Exit codes: 0 done; 1 failed; 2 usage error; 3 a frame was not recorded; with --batch, one cannot be
read, or lacks a network namespace that could not be read.";

/// Show the table as it changes: who fills it, how fast, and when it is full
///
/// On a terminal, keys switch what the rows are and how they are sorted, edit the filter, and show single flows; `?` lists
/// them (docs/top.md). With --batch, frames are printed as text.
///
/// A frame has the entries and the maximum, the part that can be evicted, new and destroyed entries and drops per
/// second, and a table of groups. `?` is what cannot be known, `12+` a lower bound. Each frame is one dump; where a dump takes
/// long, frames come less often than asked for, so that no more than an eighth of one processor is used.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Print frames as text
    #[arg(long, short)]
    batch: bool,

    /// End after FRAMES frames
    #[arg(short = 'n', value_name = "FRAMES", requires = "batch", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,

    /// Each frame as a JSON object on one line
    #[arg(long, requires = "batch")]
    json: bool,

    /// What the rows are
    #[arg(long, value_name = "VIEW", default_value = "source", value_parser = view())]
    by: View,

    /// Sort by this column: group, entries, evictable, new, packets, bytes, idle
    #[arg(long, value_name = "COLUMN", default_value = "entries", value_parser = column)]
    sort: Column,

    /// Rows of a frame: the first ones of the order [default: 20 with --batch, 500 on the screen]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rows: Option<u16>,

    /// Time between two frames
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Seconds,

    /// Append a frame with all views to FILE every 10 s (or each interval that is longer)
    ///
    /// Of each view, the first 50 rows are written, and 20 flows with all fields; fewer where a day would take more than 50 MB.
    /// A file that does not exist is created, for its owner alone.
    #[arg(long, value_name = "FILE")]
    record: Option<String>,

    /// Play the recording FILE, a frame each interval
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "no_events", "netns", "all_netns"])]
    replay: Option<String>,

    /// Sum over all network namespaces of the host; there is a view of them (--by netns, key e)
    ///
    /// Each namespace has its own count of entries: how full the table is, is shown of the fullest one. New entries are
    /// counted by events in 32 namespaces, those with most entries (one that grows beyond twice the smallest of them takes
    /// its place), elsewhere as with --no-events. A namespace that cannot be read is named. For each namespace with entries,
    /// the kernel walks the whole hash table (docs/top.md).
    #[arg(long, conflicts_with = "netns")]
    all_netns: bool,

    /// Do not subscribe to events of new entries
    ///
    /// While there is a subscriber, the kernel makes an event for each new entry (nf_conntrack_events). Without events,
    /// new entries are counted by their start time, where nf_conntrack_timestamp is 1, and unknown elsewhere.
    #[arg(long)]
    no_events: bool,

    /// Use ASCII characters only [default: where the locale is not UTF-8]
    #[arg(long, conflicts_with = "batch")]
    ascii: bool,

    /// Use no colours [default: with NO_COLOR, and where TERM is dumb or a vt]
    #[arg(long, conflicts_with = "batch")]
    no_color: bool,

    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    common: CommonArgs,
}

fn view() -> impl TypedValueParser<Value = View> {
    let value = |view: View| {
        let more = if view == View::Netns { ", with --all-netns" } else { "" };
        PossibleValue::new(view.name()).help(format!("key {}{more}", view.key()))
    };
    let values = PossibleValuesParser::new(View::ALL.map(value));
    values.try_map(|name| View::of_name(&name).ok_or("expected a view"))
}

fn column(text: &str) -> Result<Column, String> {
    let found = Column::ALL.into_iter().find(|column| column.name() == text);
    found.ok_or_else(|| format!("expected one of {}", Column::ALL.map(Column::name).join(", ")))
}

fn interval(text: &str) -> Result<Seconds, String> {
    super::args::seconds(text, 3600).map(Seconds)
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    if args.filter.confirm_idle.is_some() {
        return Err(usage(
            "--confirm-idle: expected a command that reads the table once\n  hint: filter by idle >= TIME",
        ));
    }
    if let Some(name) = &args.replay {
        return replay(args, name, host);
    }
    if args.by == View::Netns && !args.all_netns {
        return Err(usage(
            "--by netns: one network namespace is shown: expected --all-netns, too\n  hint: ctnl top --all-netns --by netns",
        ));
    }
    let filter = args.filter.filter(host)?;
    let filter = ShownFilter { text: filter.to_string(), filter };
    let connection = if args.all_netns { None } else { Some(args.common.connect()?) };
    require_terminal(args)?;
    let interrupt = Interrupt::listen()?;
    let rows = if args.record.is_some() { rows(args).max(RECORDED_ROWS) } else { rows(args) };
    let views = if args.record.is_some() { View::all(args.all_netns) } else { vec![args.by] };
    let wanted = Wanted { views, order: SortOrder::of(args.sort), rows, netns: None };
    let mut sampler = sampler(args, connection, host, wanted.clone())?;
    sampler.set_filter(filter.clone());
    let open = |name: &String| Recorder::open(name).with_context(|| format!("open '{name}'"));
    let mut recorder = args.record.as_ref().map(open).transpose()?;
    if let Some(note) = cut_filter_note(&filter.text).filter(|_| recorder.is_some()) {
        args.common.console().warn(&note);
    }
    if args.batch {
        return print_frames(args, host, &mut sampler, &interrupt, &mut recorder);
    }
    let within = Within { netns: sampler.netns().map(Netns::pin).transpose()?, interrupt: &interrupt };
    let flush = |kill: &Kill| flush(kill, args, host, &within);
    let kill: Option<&dyn Fn(&Kill)> = if args.common.console().can_ask() { Some(&flush) } else { None };
    let netns = args.common.netns_argument().map_or_else(String::new, |name| format!("netns {name}"));
    let source = Source::Kernel(netns);
    let frames = Frames::Live(Live::start(sampler, args.interval, &host.clock, recorder)?);
    show_screen(args, host, Shown { source, frames, wanted, filter: filter.text, kill }, &interrupt)
}

/// The sampler of the namespace of `connection`, or of all.
fn sampler(args: &Args, connection: Option<Connection>, host: &Host, wanted: Wanted) -> Result<Sampler> {
    let timeouts = args.filter.timeout_options()?;
    if let Some(connection) = connection {
        return Sampler::new(connection, host, &timeouts, wanted, !args.no_events);
    }
    procfs::require(host, "--all-netns")?;
    if let Err(errno) = raise_open_files() {
        args.common.console().note(&format!("cannot raise the limit of open files: {errno}"));
    }
    Sampler::of_all(host, &timeouts, wanted, !args.no_events)
}

/// Rows of a frame that are shown.
fn rows(args: &Args) -> usize {
    args.rows.unwrap_or(if args.batch { 20 } else { ROWS }).into()
}

/// Fails where a screen has no terminal.
fn require_terminal(args: &Args) -> Result<()> {
    if !args.batch && (!io::stdin().is_terminal() || !io::stdout().is_terminal()) {
        bail!("standard input and output are no terminal\n  hint: --batch prints frames as text");
    }
    Ok(())
}

/// Plays a recording.
fn replay(args: &Args, name: &str, host: &Host) -> Result<Exit> {
    if args.filter.is_given() {
        return Err(usage("--replay: a recording has one filter"));
    }
    let mut recording = Recording::open(name).with_context(|| format!("read '{name}'"))?;
    if recording.damaged() > 0 {
        let damaged = recording.damaged();
        args.common.console().warn(&format!("{name}: {damaged} bytes are damaged or incomplete, and skipped"));
    }
    if recording.len() == 0 {
        bail!("{name}: no frame");
    }
    let is_of_one = |frame: Option<Frame>| frame.is_some_and(|frame| frame.netns.is_none());
    if args.by == View::Netns && is_of_one(recording.frame(0)?) {
        bail!("{name}: one network namespace was recorded\n  hint: --record it with --all-netns");
    }
    require_terminal(args)?;
    let interrupt = Interrupt::listen()?;
    if args.batch {
        return print_recording(args, host, &mut recording, &interrupt);
    }
    let frames = Frames::Replay(Replay::new(recording, args.interval), name.to_owned());
    let source = Source::Recording(name.to_owned());
    let wanted = Wanted { views: vec![args.by], order: SortOrder::of(args.sort), rows: ROWS.into(), netns: None };
    show_screen(args, host, Shown { source, frames, wanted, filter: String::new(), kill: None }, &interrupt)
}

/// What a screen shows first, and what it works with.
struct Shown<'a> {
    source: Source,
    frames: Frames,
    wanted: Wanted,
    filter: String,
    kill: Option<&'a dyn Fn(&Kill)>,
}

fn show_screen(args: &Args, host: &Host, shown: Shown<'_>, interrupt: &Interrupt) -> Result<Exit> {
    let Shown { source, frames, wanted, filter, kill } = shown;
    let mut screen = Screen::new(source, args.by, wanted.order, filter, args.interval.0 * 1000);
    (screen.has_netns, screen.is_recorded) = (args.all_netns, args.record.is_some());
    let look = Look::of_environment(|name| std::env::var_os(name));
    let look = Look { has_colour: look.has_colour && !args.no_color, is_utf8: look.is_utf8 && !args.ascii };
    let parse = |text: &str| {
        let filter = args.filter.with_expression(text).parse(host).map_err(|error| error.to_string())?;
        Ok(ShownFilter { text: filter.to_string(), filter })
    };
    let zone = files::time_zone(host);
    let environment = Environment { parse: &parse, kill, clock: &host.clock, interrupt, look, zone: &zone };
    let ran = top::run(&mut screen, frames, wanted, &environment);
    if let Some(why) = &screen.not_recorded {
        args.common.console().warn(why);
    }
    ran?;
    Ok(exit(screen.not_recorded.is_none()))
}

/// Where a delete is run.
struct Within<'a> {
    /// The namespace that is shown, also where its name is given to another one meanwhile. `None`: that of the delete.
    netns: Option<Netns>,
    /// Ends it.
    interrupt: &'a Interrupt,
}

/// Deletes as `ctnl flush` does: a preview first, then the question, whatever the number.
fn flush(kill: &Kill, args: &Args, host: &Host, within: &Within<'_>) {
    let filter = args.filter.with_expression(&kill.filter);
    let max = kill.max.parse().ok();
    let request = |dry_run| purging::Request {
        command: "flush",
        task: if kill.is_soft { Task::LowerTimeout(SOFT) } else { Task::Delete },
        filter: &filter,
        all: false,
        dry_run,
        max,
        save: None,
        no_spare_ssh: false,
        yes: false,
        ask_above: 0,
        json: false,
        fail_if_none: false,
        common: &args.common,
    };
    let mut console = args.common.console();
    let netns = match &kill.netns {
        Some(netns) => netns.netns.upgrade().map(|netns| Netns::clone(&netns)),
        None => within.netns.clone(),
    };
    let run =
        |dry_run, netns: &Netns| purging::run_in(&request(dry_run), filter.parse(host)?, netns, host, within.interrupt);
    let ran = netns.context("the network namespace has vanished: nothing was deleted").and_then(|netns| {
        console.warn(&shown_command(kill, args.common.netns_argument(), &netns, host));
        let exit = run(true, &netns)?;
        if exit == Exit::Done { run(false, &netns) } else { Ok(exit) }
    });
    if let Err(error) = ran {
        console.warn(&format!("{error:#}"));
    }
    // Ctrl-C ended this, and not the screen.
    if within.interrupt.name() == Some("SIGINT") {
        within.interrupt.clear();
    }
}

/// The command line that does the same in `netns`, or why there is none. `given` is `--netns` as it was given.
fn shown_command(kill: &Kill, given: Option<&str>, netns: &Netns, host: &Host) -> String {
    let known = match &kill.netns {
        Some(netns) => netns.argument.as_deref(),
        None if given.is_none() => return command_line(kill, None),
        None => given,
    };
    match argument_of(netns, known, &host.proc()) {
        Some(argument) => command_line(kill, Some(&argument)),
        None => NO_COMMAND_LINE.to_owned(),
    }
}

/// A command line without --netns would delete in the namespace of the shell.
const NO_COMMAND_LINE: &str = "no --netns leads to this network namespace, so no command line does the same";

/// The command line of a delete, with the `--netns` that it needs.
fn command_line(kill: &Kill, netns: Option<&str>) -> String {
    let netns = netns.map_or_else(String::new, |netns| format!(" --netns {}", shell_word(netns)));
    let soft = if kill.is_soft { format!(" --soft={SOFT}s") } else { String::new() };
    let max = if kill.max.is_empty() { String::new() } else { format!(" --max {}", kill.max) };
    format!("ctnl flush{netns}{soft}{max} --ask-above 0 {}", quoted(&kill.filter))
}

/// In quotes where a shell could change it.
fn shell_word(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:-@".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) { word.to_owned() } else { quoted(word) }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Prints frames until enough were printed, a signal is received, or the reader is gone.
fn print_frames(
    args: &Args,
    host: &Host,
    sampler: &mut Sampler,
    interrupt: &Interrupt,
    recorder: &mut Option<Recorder>,
) -> Result<Exit> {
    let zone = files::time_zone(host);
    let (mut history, mut printed, mut is_whole) = (History::default(), 0, true);
    let (now, mut pace) = (|| host.clock.now().monotonic, Pace::of(args.interval));
    loop {
        let (began, used) = (now(), processor_time());
        let Some(mut frame) = sampler.sample(interrupt.flag())? else { return Ok(exit(is_whole)) };
        history.add(&frame);
        if let Some(Err(error)) = recorder.as_mut().map(|recorder| recorder.record(&frame)) {
            args.common.console().warn(&error.to_string());
            is_whole = false;
        }
        // The first frame has no rates.
        if frame.interval > 0 {
            printed += 1;
            is_whole &= frame.netns.as_ref().is_none_or(|netns| netns.missing.is_empty());
            frame.sections.iter_mut().for_each(|section| section.rows.truncate(rows(args)));
            if print_frame(args, &frame, &history, &zone)? == Delivered::ReaderGone {
                return Ok(exit(is_whole));
            }
        }
        if args.frames.is_some_and(|frames| printed >= frames) {
            return Ok(exit(is_whole));
        }
        pace.made(began, processor_time().since(used).plus(sampler.entering()));
        loop {
            let rest = rest(pace.next(), now());
            if !interrupt.sleep(rest.length, |_| {}) {
                return Ok(exit(is_whole));
            }
            if rest.is_last {
                break;
            }
            let (began, used) = (now(), processor_time());
            sampler.read_events()?;
            pace.used(began, processor_time().since(used));
        }
    }
}

/// A frame that could not be recorded, or lacks a namespace, is a part that was not done.
fn exit(is_whole: bool) -> Exit {
    if is_whole { Exit::Done } else { Exit::Partly }
}

/// Prints the frames of a recording.
fn print_recording(args: &Args, host: &Host, recording: &mut Recording, interrupt: &Interrupt) -> Result<Exit> {
    let (zone, mut history, mut is_whole) = (files::time_zone(host), History::default(), recording.damaged() == 0);
    let most = args.frames.unwrap_or(u64::MAX);
    let mut printed = 0;
    for place in 0..recording.len() {
        if printed >= most || interrupt.requested() {
            break;
        }
        let mut frame = match recording.frame(place) {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(error) => {
                args.common.console().warn(&format!("frame {}: {error}", place + 1));
                is_whole = false;
                continue;
            }
        };
        history.add(&frame);
        frame.sections.iter_mut().for_each(|section| section.rows.truncate(rows(args)));
        printed += 1;
        if print_frame(args, &frame, &history, &zone)? == Delivered::ReaderGone {
            break;
        }
    }
    Ok(if is_whole { Exit::Done } else { Exit::Partly })
}

fn print_frame(args: &Args, frame: &Frame, history: &History, zone: &jiff::tz::TimeZone) -> Result<Delivered> {
    let text = if args.json {
        frame_as_json(frame, args.by, history) + "\n"
    } else {
        frame_as_text(frame, args.by, history, zone)
    };
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    use ctnl::clock::Clock;

    use super::*;
    use crate::top::FrameNetns;

    fn kill() -> Kill {
        Kill { filter: "tcp".to_owned(), entries: 3, is_soft: false, max: String::new(), netns: None }
    }

    #[test]
    fn the_command_line_of_a_delete_can_be_copied() {
        let soft = Kill { filter: "helper 'x'".to_owned(), is_soft: true, max: "7".to_owned(), ..kill() };
        assert_eq!(command_line(&soft, None), r"ctnl flush --soft=10s --max 7 --ask-above 0 'helper '\''x'\'''");
        assert_eq!(command_line(&kill(), Some("red")), "ctnl flush --netns red --ask-above 0 'tcp'");
        assert_eq!(command_line(&kill(), Some("/run/a b")), "ctnl flush --netns '/run/a b' --ask-above 0 'tcp'");
    }

    #[test]
    fn the_command_line_of_a_delete_names_the_namespace_that_it_is_done_in_or_there_is_none() {
        // A scan finds nothing.
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path(), Clock::system());
        let own = format!("/proc/{}/ns/net", std::process::id());
        let shown = |argument: Option<&str>| {
            let netns = FrameNetns { argument: argument.map(str::to_owned), ..FrameNetns::default() };
            shown_command(&Kill { netns: Some(Arc::new(netns)), ..kill() }, None, &Netns::Current, &host)
        };
        assert_eq!(shown(Some(&own)), format!("ctnl flush --netns {own} --ask-above 0 'tcp'"));
        // The process has ended, the name has vanished, and there never was one.
        for argument in [Some("4294967295"), Some("no such name"), None] {
            assert_eq!(shown(argument), NO_COMMAND_LINE);
        }
        // What was given leads to another file now.
        let link = folder.path().join("netns");
        symlink(&own, &link).unwrap();
        let given = link.to_str().unwrap();
        let shown = || shown_command(&kill(), Some(given), &Netns::Current, &host);
        assert_eq!(shown(), format!("ctnl flush --netns {given} --ask-above 0 'tcp'"));
        fs::remove_file(&link).unwrap();
        symlink("/proc/self/ns/mnt", &link).unwrap();
        assert_eq!(shown(), NO_COMMAND_LINE);
        assert_eq!(shown_command(&kill(), None, &Netns::Current, &host), "ctnl flush --ask-above 0 'tcp'");
    }
}
