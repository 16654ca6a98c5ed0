//! `ctnl add`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use anyhow::{Context, Result};
use ctnl::field::Subject;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::model::{Flow, HelperName, Status, TcpState};
use ctnl::netlink::Connection;
use ctnl::output::Writer;
use ctnl::table::{self, BATCH, Masked, Outcome, Patch, Target, TcpPatch};
use nix::errno::Errno;

use super::args::CommonArgs;
use super::entry_values;
use super::format::FormatArgs;
use super::get::print;
use super::new_entry::{Endpoint, Template, endpoint, helper};
use crate::host::timeout_options::TimeoutOptions;
use crate::scan::Selection;
use crate::term::console::Console;
use crate::term::exit::{Exit, usage};
use crate::term::stdout;

const EXAMPLES: &str = "\
Examples:
  ctnl add tcp 10.0.0.1:40000 10.0.0.2:443 --timeout 1h --status assured,seen-reply
  ctnl add udp 10.0.0.1:5060 192.0.2.1:5060 --timeout 3m --src-nat 198.51.100.1:6000 --mark 0x10
      With source NAT: packets of the flow are rewritten.
  ctnl add 'tcp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=21' --timeout 5m --helper ftp --replace
      The tuple as conntrack and ctnl list print it. An entry that exists gets timeout, mark, state, status and labels.
  ctnl add --file tuples.txt --timeout 10m
      One tuple a line; - is standard input.

A line may have the reply tuple, too: where it is not the inverse of the first one, the entry has NAT.
Exit codes: 0 done; 1 failed; 2 bad usage, nothing was changed; 3 partly done.";

/// Longest line of a file.
const LONGEST_LINE: u64 = 64 * 1024;

/// Create entries
///
/// Ids, counters and start times are the kernel's to set. An entry that exists is an error, unless --replace is given. A
/// single entry is printed to stdout as the kernel has it; those of --file are only counted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// PROTOCOL SRC[:PORT] DST[:PORT], or src=… dst=… as an entry is printed
    #[arg(required_unless_present = "file", conflicts_with = "file", num_args = 1.., value_name = "TUPLE")]
    tuple: Vec<String>,

    /// Read the tuples from FILE, one a line; - is standard input. Empty lines and those with # are skipped
    #[arg(long, value_name = "FILE")]
    file: Option<String>,

    /// Remaining timeout (30s, 1h, or seconds)
    #[arg(long, short, value_name = "TIME", value_parser = entry_values::timeout)]
    timeout: u32,

    /// Packet mark
    #[arg(long, short, value_parser = entry_values::number)]
    mark: Option<u32>,

    /// Zone; default: that of the line, else 0
    #[arg(long, short = 'w')]
    zone: Option<u16>,

    /// TCP state (default established)
    #[arg(long, value_parser = entry_values::tcp_state)]
    state: Option<TcpState>,

    /// Status bits: assured, seen-reply, fixed-timeout
    #[arg(long, value_name = "BIT[,BIT…]", value_parser = entry_values::status)]
    status: Option<Status>,

    /// Labels, by number or by name of connlabel.conf
    #[arg(long, value_name = "LABEL[,LABEL…]")]
    label: Option<String>,

    /// Helper, e.g. ftp
    #[arg(long, value_parser = helper)]
    helper: Option<HelperName>,

    /// Rewrite the source of its packets
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = endpoint)]
    src_nat: Option<Endpoint>,

    /// Rewrite the destination of its packets
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = endpoint)]
    dst_nat: Option<Endpoint>,

    /// Change an entry that exists with the same tuples: timeout, and what else is given
    #[arg(long)]
    replace: bool,

    /// Print the entries, create nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let template = args.template(host)?;
    let single = args.file.is_none().then(|| template.flow(&args.tuple.join(" ")).map_err(usage)).transpose()?;
    let mut connection = args.common.connect()?;
    let preview = args.dry_run.then(|| Preview::new(args, &mut connection, host)).transpose()?;
    let mut adding = Adding { args, connection, counts: Counts::default(), preview };
    let mut console = args.common.console();
    let added = match (&single, &args.file) {
        (Some(flow), _) => adding.add(std::slice::from_ref(flow)),
        (None, Some(path)) => adding.add_lines(path, &template),
        (None, None) => Ok(()),
    };
    if let Err(error) = added {
        if adding.counts.is_untouched() {
            return Err(error);
        }
        console.warn(&format!("ctnl: {error:#}"));
        adding.counts.summarize(args, &mut console);
        return Ok(Exit::Partly);
    }
    if let Some(preview) = adding.preview {
        return preview.finish().map(|()| Exit::Done);
    }
    adding.counts.summarize(args, &mut console);
    if let Some(flow) = single.filter(|_| adding.counts.done() > 0) {
        adding.print(&flow, host, &mut console)?;
    }
    Ok(adding.counts.exit())
}

impl Args {
    fn template(&self, host: &Host) -> Result<Template> {
        let labels = self.label.as_deref().map(|text| entry_values::labels(text, host)).transpose();
        let status = self.status.unwrap_or(Status::empty());
        if status.contains(Status::Helper) {
            return Err(usage("--status: 'helper' is set with a helper: expected --helper"));
        }
        Ok(Template {
            timeout: self.timeout,
            mark: self.mark,
            zone: self.zone,
            state: self.state,
            status,
            labels: labels.map_err(|error| usage(format!("--label: {error}")))?,
            helper: self.helper,
            src_nat: self.src_nat,
            dst_nat: self.dst_nat,
        })
    }

    /// What an entry that exists is changed to.
    fn patch(&self, flow: &Flow) -> Patch {
        Patch {
            timeout: flow.timeout,
            mark: self.mark.map(|value| Masked { value, mask: u32::MAX }),
            add_status: self.status.unwrap_or(Status::empty()),
            tcp: TcpPatch { state: self.state, ..TcpPatch::default() },
            add_labels: flow.labels.unwrap_or_default(),
            ..Patch::default()
        }
    }
}

/// What became of the entries.
#[derive(Debug, Default)]
struct Counts {
    created: Outcome,
    updated: Outcome,
    /// Entries that were created, and did not get their labels.
    unlabelled: u64,
    /// Entries that exist and cannot be changed to what was given, by reason.
    refused: Vec<(String, u64)>,
}

/// Creates entries.
struct Adding<'a> {
    args: &'a Args,
    connection: Connection,
    counts: Counts,
    /// What is printed instead.
    preview: Option<Preview>,
}

/// Entries that would be created, printed.
struct Preview {
    writer: Writer,
    selection: Selection,
    bytes: Vec<u8>,
}

impl Preview {
    fn new(args: &Args, connection: &mut Connection, host: &Host) -> Result<Self> {
        let writer = args.format.writer(host)?;
        let options = TimeoutOptions::default();
        let selection = Selection::new(Filter::default(), connection, host, &options, true)?;
        let mut bytes = Vec::new();
        writer.begin(&mut bytes);
        Ok(Preview { writer, selection, bytes })
    }

    fn print(&mut self, flows: &[Flow]) -> Result<()> {
        for flow in flows {
            self.writer.flow(&mut self.bytes, &Subject::new(flow, self.selection.ages()));
        }
        let printed = stdout::print(&self.bytes);
        self.bytes.clear();
        printed
    }

    fn finish(mut self) -> Result<()> {
        self.writer.end(&mut self.bytes);
        stdout::print(&self.bytes)
    }
}

impl Adding<'_> {
    fn add_lines(&mut self, path: &str, template: &Template) -> Result<()> {
        let file: Box<dyn Read> = match path {
            "-" => Box::new(io::stdin()),
            path => Box::new(File::open(path).with_context(|| format!("open '{path}'"))?),
        };
        let (mut reader, mut flows) = (BufReader::new(file), Vec::with_capacity(BATCH));
        for number in 1_u64.. {
            let mut line = Vec::new();
            let length = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
            if length.with_context(|| format!("read '{path}'"))? == 0 {
                break;
            }
            if line.len() as u64 == LONGEST_LINE {
                return self.stop_at(&flows, format!("line {number} of '{path}' is too long"));
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match template.flow(text) {
                Ok(flow) => flows.push(flow),
                Err(error) => return self.stop_at(&flows, format!("line {number} of '{path}': {error}")),
            }
            if flows.len() >= BATCH {
                self.add(&flows)?;
                flows.clear();
            }
        }
        self.add(&flows)
    }

    /// Creates what precedes a line that cannot be read.
    fn stop_at(&mut self, flows: &[Flow], error: String) -> Result<()> {
        // Where nothing has been created yet, nothing is.
        if !self.counts.is_untouched() {
            self.add(flows)?;
        }
        Err(usage(error))
    }

    fn add(&mut self, flows: &[Flow]) -> Result<()> {
        if let Some(preview) = &mut self.preview {
            return preview.print(flows);
        }
        if self.args.replace {
            return flows.iter().try_for_each(|flow| self.replace(flow));
        }
        self.create(flows)
    }

    /// Creates entries; once more those for which the module of the helper has just been loaded (`EAGAIN`). The others
    /// exist by then.
    fn create(&mut self, flows: &[Flow]) -> Result<()> {
        let mut outcome = Outcome::default();
        table::create(&mut self.connection, flows, &mut outcome)?;
        if outcome.failed.remove(&(Errno::EAGAIN as i32)).is_some() {
            let mut again = Outcome::default();
            table::create(&mut self.connection, flows, &mut again)?;
            again.failed.remove(&(Errno::EEXIST as i32));
            add_outcome(&mut outcome, &again);
        }
        add_outcome(&mut self.counts.created, &outcome);
        if self.args.label.is_some() && outcome.done > 0 {
            self.count_unlabelled(flows)?;
        }
        Ok(())
    }

    /// The kernel creates an entry without labels, and without an error, where no rule uses labels
    /// (`ctnetlink_new_conntrack` ignores the answer of `ctnetlink_attach_labels`).
    fn count_unlabelled(&mut self, flows: &[Flow]) -> Result<()> {
        for flow in flows {
            let found = table::get(&mut self.connection, &flow.orig, flow.zone_both.unwrap_or(0))?;
            let has_labels = |found: &Flow| {
                found.labels.unwrap_or_default() | flow.labels.unwrap_or_default() == found.labels.unwrap_or_default()
            };
            self.counts.unlabelled += u64::from(found.is_some_and(|found| !has_labels(&found)));
        }
        Ok(())
    }

    /// Creates the entry, or changes that which has its tuples.
    fn replace(&mut self, flow: &Flow) -> Result<()> {
        let Some(found) = table::get(&mut self.connection, &flow.orig, flow.zone_both.unwrap_or(0))? else {
            return self.create(std::slice::from_ref(flow));
        };
        match self.target(flow, &found) {
            Ok((_, patch)) if patch.is_met_by(&found) => self.counts.updated.done += 1,
            Ok(update) => table::update(&mut self.connection, &[update], &mut self.counts.updated)?,
            Err(why) => match self.counts.refused.iter_mut().find(|(known, _)| *known == why) {
                Some((_, count)) => *count += 1,
                None => self.counts.refused.push((why, 1)),
            },
        }
        Ok(())
    }

    /// Prints the entry as the kernel has it. It exists, whatever becomes of its line.
    fn print(&mut self, flow: &Flow, host: &Host, console: &mut Console) -> Result<()> {
        let mut writer = self.args.format.writer(host)?;
        let Some(found) = table::get(&mut self.connection, &flow.orig, flow.zone_both.unwrap_or(0))? else {
            return Ok(());
        };
        if let Err(error) = print(&found, &mut writer, &mut self.connection, host) {
            console.warn(&format!("ctnl: {error:#}"));
        }
        Ok(())
    }

    /// The update of `found`, or why it cannot become `flow`.
    fn target(&self, flow: &Flow, found: &Flow) -> Result<(Target, Patch), String> {
        if (found.orig, found.reply) != (flow.orig, flow.reply) {
            return Err(
                "an entry with this tuple exists whose reply tuple is another one, which cannot be changed".to_owned()
            );
        }
        if flow.helper.is_some() && flow.helper != found.helper {
            return Err("an entry with these tuples exists without this helper, which it cannot get".to_owned());
        }
        let patch = self.args.patch(flow);
        patch
            .target_of(found)
            .map(|target| (target, patch))
            .map_err(|why| format!("an entry with these tuples exists and cannot be changed: {why}"))
    }
}

fn add_outcome(sum: &mut Outcome, one: &Outcome) {
    sum.done += one.done;
    sum.gone += one.gone;
    for (errno, count) in &one.failed {
        *sum.failed.entry(*errno).or_default() += count;
    }
}

impl Counts {
    fn done(&self) -> u64 {
        self.created.done + self.updated.done + self.updated.partly
    }

    fn is_untouched(&self) -> bool {
        self.done() == 0
    }

    fn not_done(&self) -> u64 {
        let refused: u64 = self.refused.iter().map(|(_, count)| count).sum();
        let of = |outcome: &Outcome| outcome.failures() + outcome.gone;
        of(&self.created) + of(&self.updated) + refused + self.unlabelled
    }

    fn exit(&self) -> Exit {
        match (self.not_done(), self.is_untouched()) {
            (0, _) => Exit::Done,
            (_, true) => Exit::Failed,
            (_, false) => Exit::Partly,
        }
    }

    fn summarize(&self, args: &Args, console: &mut Console) {
        let mut text = format!("{} added", self.created.done);
        if args.replace {
            text.push_str(&format!(", {} that existed have what was given", self.updated.done));
        }
        if self.updated.partly > 0 {
            text.push_str(&format!(", {} of those changed in part", self.updated.partly));
        }
        console.note(&text);
        for (errno, count) in self.created.failed.iter().chain(&self.updated.failed) {
            console.warn(&format!("{count} failed: {}", explain(Errno::from_raw(*errno), args)));
        }
        if self.unlabelled > 0 {
            console.warn(&format!(
                "{} without the labels: the kernel stores them only while a rule of nftables or iptables uses labels",
                self.unlabelled
            ));
        }
        for (why, count) in &self.refused {
            console.warn(&format!("{count} refused: {why}"));
        }
        if self.created.gone + self.updated.gone > 0 {
            console.warn("an entry that existed has ended meanwhile: run it again");
        }
    }
}

/// What the kernel's answer means (`ctnetlink_create_conntrack` in net/netfilter/nf_conntrack_netlink.c).
fn explain(errno: Errno, args: &Args) -> String {
    let hint = match errno {
        Errno::EEXIST if args.replace => {
            "an entry with this tuple was created meanwhile, or one with its reply tuple exists"
        }
        Errno::EEXIST => {
            "an entry with this tuple exists, in either direction\n  hint: `ctnl get` prints it; --replace changes it"
        }
        Errno::ENOMEM => {
            "the table is full\n  hint: `ctnl stats` shows the maximum; raise net.netfilter.nf_conntrack_max, or flush"
        }
        Errno::ENOSPC if args.label.is_some() => "the hash chain is too long, or the entry has no room for labels",
        Errno::ENOSPC => "the hash chain is too long\n  hint: raise net.netfilter.nf_conntrack_buckets",
        Errno::EOPNOTSUPP if args.helper.is_some() => {
            "the kernel has no such helper for this protocol\n  hint: load its module, e.g. modprobe nf_conntrack_ftp"
        }
        Errno::EOPNOTSUPP => "the kernel is built without what was asked for: zones, NAT or labels",
        Errno::EINVAL => "the kernel does not accept the tuple, e.g. a type of ICMP that it does not track",
        Errno::EBUSY => "the status of the entry changed meanwhile: run it again",
        _ => "",
    };
    format!("{errno:?}: {}", if hint.is_empty() { errno.desc() } else { hint })
}
