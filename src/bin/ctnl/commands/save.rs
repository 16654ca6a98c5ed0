//! `ctnl save`.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use ctnl::field::Subject;
use ctnl::host::Host;
use ctnl::model::Flow;
use ctnl::output::{ChunkWriter, SAVE, Writer, WriterOptions};
use ctnl::snapshot::{BinaryWriter, SaveFormat};
use ctnl::units::Nanos;
use serde::Serialize;

use super::args::FilterArgs;
use super::read::{ReadArgs, Reading, Walked};
use super::report;
use crate::save_file::{STANDARD, SaveFile, head, refuse};
use crate::scan::walk_matches;
use crate::term::exit::{Exit, usage};
use crate::term::stdout::print;

const EXAMPLES: &str = "\
Examples:
  ctnl save table.ctnl
      Save the whole table; `ctnl restore table.ctnl` creates it again.
  ctnl save tcp and nat any /root/nat.ctnl
      The filter comes before the file.
  ctnl save --netns old - | ctnl restore --netns new -
      From one network namespace into another.
  ctnl save -o save zone 10 - | gzip > zone10.gz
      The lines of conntrack -o save, for conntrack -R.

docs/save.md has the format, what is kept, and recipes (router swap, undo).
Exit codes: 0 saved; 1 failed, and no file is left; 2 bad usage, e.g. the file exists;
3 interrupted, and no file is left; or saved while the kernel's hash table was resized: entries may be missing.";

/// Save the entries that match to a file, for `ctnl restore`
///
/// The last word is the file, `-` is standard output; the words before it are the filter. An existing file is
/// kept unless --overwrite is given. A save that fails or is interrupted leaves no file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, override_usage = "ctnl save [OPTIONS] [EXPRESSION]... FILE")]
pub struct Args {
    /// Format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Output::Binary)]
    output: Output,

    /// Replace FILE if it exists, once the new one is whole
    #[arg(long)]
    overwrite: bool,

    /// Summary as JSON on stdout
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    read: ReadArgs,
}

/// The formats of save files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// All that can be restored, with checksums, the time, and what the table was of (docs/save.md)
    Binary,
    /// The lines of conntrack(8) with -o save: no mark, labels, helper; no time; a cut between lines is not detected
    Save,
}

/// Version of the JSON document.
const VERSION: u32 = 1;

/// The results of a save (docs/save.md).
#[derive(Debug, Default, Serialize)]
struct Summary {
    v: u32,
    command: &'static str,
    file: String,
    format: &'static str,
    filter: String,
    /// Entries that were dumped, each once.
    seen: u64,
    /// Entries in the file.
    saved: u64,
    /// Size of the file.
    bytes: u64,
    /// Entries by zone.
    zones: BTreeMap<u16, u64>,
    /// Entries with a mark, labels or a helper, which the format does not have.
    without_mark_labels_or_helper: u64,
    /// Entries with attributes that this version does not know, without these.
    without_unknown_attributes: u64,
    /// Entries of which it is undecided whether they match, by reason. They are not in the file.
    undecided: BTreeMap<&'static str, u64>,
    /// The kernel's hash table was resized, so entries may be missing.
    resized: bool,
    seconds: f64,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let (filter, name) = args.file_and_filter(host)?;
    let read = ReadArgs { filter, ..args.read.clone() };
    let criteria = read.criteria(host).map_err(file_comes_last)?;
    refuse(&name, args.overwrite).map_err(|error| hint_at_overwrite(error, args.overwrite))?;
    if args.json && name == STANDARD {
        return Err(usage("--json and '-' would both be written to standard output\n  hint: name a file"));
    }
    read.read(criteria, false, host, |reading| save(args, &read, &name, host, reading))
}

impl Args {
    /// Splits the words into filter and file.
    fn file_and_filter(&self, host: &Host) -> Result<(FilterArgs, String)> {
        let mut filter = self.read.filter.clone();
        let (is_filter, words) = (filter.filter(host).is_ok(), filter.expression());
        let name = filter.take_last_word();
        match name {
            // Whatever is a filter as a whole has no file behind it.
            Some(name) if is_filter && !name.contains(['/', '.']) => Err(usage(format!(
                "no file is given: '{name}' is a part of the filter\n  hint: ctnl save '{words}' FILE; or ./{name} for a \
                 file of that name"
            ))),
            Some(name) if !name.is_empty() => Ok((filter, name)),
            _ => Err(usage("no file is given\n  hint: ctnl save [EXPRESSION]... FILE, or '-' for standard output")),
        }
    }
}

fn file_comes_last(error: anyhow::Error) -> anyhow::Error {
    usage(format!("{error}\n  hint: the file comes last: ctnl save [EXPRESSION]... FILE"))
}

fn hint_at_overwrite(error: anyhow::Error, overwrite: bool) -> anyhow::Error {
    let text = error.to_string();
    if overwrite || !text.contains("exists") { error } else { usage(format!("{text}, or replace it with --overwrite")) }
}

/// Writes entries in one of the formats.
enum Saver {
    Binary(BinaryWriter),
    Text(Writer),
}

/// What was saved.
struct Saving {
    saver: Saver,
    chunks: ChunkWriter<Counted>,
    failed: Option<io::Error>,
    summary: Summary,
}

/// Counts the bytes that are written.
struct Counted {
    file: SaveFile,
    bytes: u64,
}

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Saving {
    #[inline]
    fn add(&mut self, subject: &Subject<'_>) -> ControlFlow<()> {
        let flow = subject.flow;
        match &mut self.saver {
            // The time at which the kernel filled the datagram.
            Saver::Binary(writer) => writer.entry(self.chunks.buffer(), flow, Nanos(subject.ages.now)),
            Saver::Text(writer) => {
                writer.flow(self.chunks.buffer(), subject);
                self.summary.without_mark_labels_or_helper += u64::from(has_more_than_its_line(flow));
            }
        }
        self.summary.saved += 1;
        self.summary.without_unknown_attributes += u64::from(flow.unknown.count() > 0);
        self.failed = self.chunks.commit().err();
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Removes the file, before the process ends.
    fn discard(self) {
        drop(self.chunks.finish());
    }

    /// Writes the end, and waits until all is on the disk.
    fn finish(mut self) -> Result<Summary, io::Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Saver::Binary(writer) = self.saver {
            self.summary.zones = writer.end(self.chunks.buffer()).zones;
        }
        let Counted { file, bytes } = self.chunks.finish()?;
        file.finish()?;
        Ok(Summary { bytes, ..self.summary })
    }
}

fn has_more_than_its_line(flow: &Flow) -> bool {
    flow.mark.is_some_and(|mark| mark != 0) || flow.labels.is_some() || flow.helper.is_some()
}

fn save(args: &Args, read: &ReadArgs, name: &str, host: &Host, reading: Reading<'_>) -> Result<Exit> {
    let Reading { mut connection, mut selection, mut watch, occupancy } = reading;
    let started = host.clock.now().monotonic;
    let file = SaveFile::create(name, args.overwrite)?;
    if file.is_terminal() && args.output == Output::Binary {
        return Err(usage("the binary format is not for a terminal\n  hint: name a file, or use -o save"));
    }
    let mut chunks = ChunkWriter::new(Counted { file, bytes: 0 });
    let (saver, format) = match args.output {
        Output::Binary => {
            let head = head(host, occupancy, selection.filter().to_string());
            (Saver::Binary(BinaryWriter::begin(chunks.buffer(), &head)), SaveFormat::Binary)
        }
        Output::Save => (Saver::Text(SAVE.writer(WriterOptions::default())?), SaveFormat::Text),
    };
    let filter = selection.filter().to_string();
    let (file, format) = (name.to_owned(), format.name());
    let summary = Summary { v: VERSION, command: "save", file, format, filter, ..Summary::default() };
    let mut saving = Saving { saver, chunks, failed: None, summary };
    let _ = read.scan.halves(watch.console, || Err("a save uses one"));
    let request = read.scan.request(selection.filter());
    let walked = walk_matches(&mut connection, request, &mut selection, &mut watch, |subject| saving.add(subject));
    let (walked, is_interrupted) = match walked {
        Ok(walked) => walked,
        Err(error) => {
            saving.discard();
            return Err(error.into());
        }
    };
    if is_interrupted {
        saving.discard();
        watch.console.warn("interrupted; nothing was saved");
        return Ok(Exit::Partly);
    }
    let mut summary = saving.finish().with_context(|| format!("write '{name}'"))?;
    let walked = Walked { totals: walked.totals, is_interrupted, is_resized: watch.warn_if_resized() };
    summary.seen = walked.totals.entries;
    summary.resized = walked.is_resized;
    summary.undecided = selection.tally.undecided.iter().map(|(why, count)| (why.name(), *count)).collect();
    summary.seconds = Duration::from(host.clock.now().monotonic.since(started)).as_secs_f64();
    summary.lines().iter().for_each(|line| watch.console.note(line));
    report::print_undecided(watch.console, &selection.tally);
    if args.json {
        print(format!("{}\n", serde_json::to_string(&summary)?))?;
    }
    Ok(read.exit(&mut watch, walked, summary.saved))
}

impl Summary {
    fn lines(&self) -> Vec<String> {
        let file = if self.file == STANDARD { "standard output" } else { &self.file };
        let mut lines = vec![format!(
            "{} saved to {file} ({} bytes), {} entries seen in {:.2} s",
            self.saved, self.bytes, self.seen, self.seconds
        )];
        if self.without_mark_labels_or_helper > 0 {
            lines.push(format!(
                "{} have a mark, labels or a helper, which this format does not have\n  hint: -o binary keeps them",
                self.without_mark_labels_or_helper
            ));
        }
        if self.without_unknown_attributes > 0 {
            let count = self.without_unknown_attributes;
            lines.push(format!("{count} have attributes that this version does not know: these were not saved"));
        }
        lines
    }
}
