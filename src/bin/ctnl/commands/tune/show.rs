//! `ctnl tune show`.

use anyhow::Result;
use ctnl::host::Host;
use ctnl::units::{Bytes, parse_count};
use serde_json::{Value, json};

use super::pending;
use super::show_row::{Row, now, row};
use super::target::{self, Opened, Target, TargetArgs};
use crate::host::boot::Boot;
use crate::host::table_memory::TableMemory;
use crate::term::columns::Columns;
use crate::term::console::percent;
use crate::term::exit::Exit;
use crate::term::stdout::print;
use crate::tune::{Operation, Setting, Table, VERSION, is_denied};

const EXAMPLES: &str = "\
Examples:
  ctnl tune show
  ctnl tune show --peak 180k
      The kernel keeps no peak; this is what the monitoring has seen.
  ctnl tune show -v --netns blue
      All timeouts, of a namespace of `ip netns`.
  ctnl tune show --json | jq '.settings[] | select(.now != .recommended)'
  ctnl tune show --root /mnt/image
      What an image that does not run would set at boot.";

/// Show each setting: now, at boot, and what is recommended and why
///
/// At boot is what the files of the host set, by the precedence of its init system, with the line that decides. The
/// maximum that is recommended comes from the memory and from the most entries that are known of; the classic formula
/// stands beside it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The most entries that there ever were, of your monitoring (180k)
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_count(text).map_err(|error| error.to_string()))]
    peak: Option<u64>,

    #[command(flatten)]
    target: TargetArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let Opened { target, log, mut console } = args.target.open(host)?;
    let operations = match pending::warn(&target, &log, &mut console, None) {
        // What is now and at boot is for everybody.
        Err(error) if is_denied(&error) => {
            console.note(&format!(
                "{error:#}\n  hint: only root sees what is pending, and the most entries that the log has"
            ));
            Vec::new()
        }
        operations => operations?,
    };
    let shown = Shown::read(args, &target, &operations);
    let text =
        if args.target.json { format!("{}\n", shown.json()) } else { shown.text(args.target.common.is_verbose()) };
    print(&text)?;
    for unreadable in &shown.unreadable {
        console.warn(&format!("at boot: cannot read {unreadable}, so what it sets is unknown"));
    }
    if let Some(note) = shown.read_only(&target) {
        console.note(&note);
    }
    Ok(Exit::Done)
}

/// Everything that is shown.
struct Shown {
    rows: Vec<Row>,
    memory: TableMemory,
    table: Option<Table>,
    entries: Option<u64>,
    peak: Peak,
    /// Files that the boot reads and this process cannot.
    unreadable: Vec<String>,
}

/// The most entries that are known of, and where from.
struct Peak {
    entries: u64,
    source: &'static str,
}

impl Peak {
    fn of(given: Option<u64>, now: Option<u64>, operations: &[Operation]) -> Self {
        let logged = operations.iter().filter_map(|operation| operation.begun.entries).max();
        let known = [(now, "now"), (logged, "at an operation of the log"), (given, "--peak")];
        let known = known.into_iter().filter_map(|(entries, source)| Some((entries?, source)));
        let (entries, source) = known.max_by_key(|(entries, _)| *entries).unwrap_or((0, "unknown"));
        Peak { entries, source }
    }
}

impl Shown {
    fn read(args: &Args, target: &Target, operations: &[Operation]) -> Self {
        let memory = TableMemory::read(&target.host);
        let boot = Boot::read(&target.host);
        let mut places = target.places();
        let entries = target::entries(target);
        let peak = Peak::of(args.peak, entries, operations);
        let [max, buckets] = [Setting::Max, Setting::Buckets].map(|setting| now(&mut places, setting));
        let table = max.zip(buckets).map(|(max, buckets)| Table { max, buckets, peak: peak.entries });
        let rows = Setting::all().map(|setting| row(setting, &mut places, &boot, table, &memory)).collect();
        let unreadable = boot.unreadable.iter().map(|left| format!("{}: {}", left.file, left.why)).collect();
        Shown { rows, memory, table, entries, peak, unreadable }
    }

    fn text(&self, is_verbose: bool) -> String {
        let heads = ["SETTING", "NOW", "AT BOOT", "RECOMMENDED", "WHY"];
        let mut columns = Columns::new(heads.map(str::to_owned).to_vec(), 0);
        let is_shown = |row: &&Row| (row.now.is_some() || row.boot.line.is_some()) && (is_verbose || row.is_notable());
        for row in self.rows.iter().filter(is_shown) {
            let show = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| row.setting.show(value));
            let recommended = if row.recommended == row.now { "-".to_owned() } else { show(row.recommended) };
            columns.push(vec![
                row.setting.name().to_owned(),
                show(row.now),
                row.boot.text(row.setting),
                recommended,
                row.why.clone(),
            ]);
        }
        format!("{}\n{}", columns.to_text(), self.facts())
    }

    /// The lines below the table.
    fn facts(&self) -> String {
        let memory = &self.memory;
        let mut text = format!(
            "memory   an entry takes {} bytes: {} ({}) and {} of extensions (kmalloc-128, seldom more)\n",
            memory.bytes_per_entry(),
            memory.entry_bytes,
            memory.source.name(),
            memory.extension_bytes
        );
        if let (Some(table), Some(total)) = (self.table.filter(|table| table.max > 0), memory.total) {
            let (entries, buckets) = (memory.bytes_of_entries(table.max), memory.bytes_of_buckets(table.buckets));
            text.push_str(&format!(
                "         a full table: {} of entries and {} of buckets, {} of {}\n",
                Bytes(entries),
                Bytes(buckets),
                percent(entries.saturating_add(buckets), total),
                Bytes(total)
            ));
        }
        if let Some(classic) = memory.classic_max() {
            text.push_str(&format!(
                "formula  RAM / 16384 / (word bits / 32) = {classic}, the rule of old articles for max\n"
            ));
        }
        let entries = self.entries.map_or_else(|| "unknown".to_owned(), |entries| entries.to_string());
        text.push_str(&format!(
            "entries  now {entries}; the most that are known of: {} ({}). The kernel keeps no peak: give that of your \
             monitoring with --peak\n",
            self.peak.entries, self.peak.source
        ));
        text
    }

    fn json(&self) -> Value {
        let (memory, table) = (&self.memory, self.table);
        let bytes = table.filter(|table| table.max > 0).map(|table| memory.bytes_of_table(table.max, table.buckets));
        json!({
            "v": VERSION,
            "settings": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "entries": self.entries,
            "peak": {"entries": self.peak.entries, "source": self.peak.source},
            "memory": {
                "total": memory.total,
                "available": memory.available,
                "bytes_per_entry": memory.bytes_per_entry(),
                "entry_bytes": memory.entry_bytes,
                "entry_bytes_source": memory.source.name(),
                "extension_bytes": memory.extension_bytes,
                "full_table_bytes": bytes,
            },
            "classic_max": memory.classic_max(),
            "unreadable_at_boot": self.unreadable,
        })
    }

    /// What cannot be set here.
    fn read_only(&self, target: &Target) -> Option<String> {
        let read_only = self.rows.iter().filter(|row| row.now.is_some() && !row.writable);
        let names: Vec<_> = read_only.map(|row| row.setting.name()).collect();
        if !target.is_live() {
            return None;
        }
        if self.rows.iter().all(|row| row.now.is_none()) {
            return Some(
                "there are no sysctls of conntrack: the module is not loaded (modprobe nf_conntrack)".to_owned(),
            );
        }
        (!names.is_empty()).then(|| {
            format!(
                "read-only here: {}\n  hint: sizes have one value for the whole host, which only its first network \
                 namespace may set; timeouts and the others need root of the namespace",
                names.join(", ")
            )
        })
    }
}
