//! Creates entries, or changes those that exist.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use anyhow::{Context, Result};
use ctnl::host::Host;
use ctnl::model::Flow;
use ctnl::netlink::Connection;
use ctnl::table::{self, BATCH, Outcome, Patch, Target};
use nix::errno::Errno;

use super::super::get::print;
use super::super::purging::begin_note;
use super::args::Args;
use super::counts::{Counts, add_outcome};
use super::new_entry::Template;
use super::preview::Preview;
use crate::host::timeout_notes::WrittenTimeout;
use crate::term::console::Console;
use crate::term::exit::usage;

/// Longest line of a file.
const LONGEST_LINE: u64 = 64 * 1024;

/// Creates entries.
pub struct Adding<'a> {
    args: &'a Args,
    connection: Connection,
    pub counts: Counts,
    /// What is printed instead.
    pub preview: Option<Preview>,
    /// The note of the timeout that entries which exist get.
    written: WrittenTimeout,
    has_noted: bool,
}

impl<'a> Adding<'a> {
    /// One that creates over `connection`, or prints with `preview`.
    pub fn new(args: &'a Args, connection: Connection, preview: Option<Preview>, host: &Host) -> Self {
        let written = WrittenTimeout::new(connection.netns(), host, args.timeout);
        Adding { args, connection, counts: Counts::default(), preview, written, has_noted: false }
    }

    /// Adds the entry of each line of a file.
    pub fn add_lines(&mut self, path: &str, template: &Template) -> Result<()> {
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

    /// Adds entries.
    pub fn add(&mut self, flows: &[Flow]) -> Result<()> {
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
        let mut answered = table::create(&mut self.connection, flows, &mut outcome);
        if answered.is_ok() && outcome.failed.remove(&(Errno::EAGAIN as i32)).is_some() {
            let mut again = Outcome::default();
            answered = table::create(&mut self.connection, flows, &mut again);
            again.failed.remove(&(Errno::EEXIST as i32));
            add_outcome(&mut outcome, &again);
        }
        add_outcome(&mut self.counts.created, &outcome);
        answered?;
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
            Ok(update) => {
                if !std::mem::replace(&mut self.has_noted, true) {
                    begin_note(Some(&self.written), &mut self.args.common.console());
                }
                table::update(&mut self.connection, &[update], &mut self.counts.updated)?;
            }
            Err(why) => match self.counts.refused.iter_mut().find(|(known, _)| *known == why) {
                Some((_, count)) => *count += 1,
                None => self.counts.refused.push((why, 1)),
            },
        }
        Ok(())
    }

    /// Prints the entry as the kernel has it. It exists, whatever becomes of its line.
    pub fn print(&mut self, flow: &Flow, host: &Host, console: &mut Console) -> Result<()> {
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
