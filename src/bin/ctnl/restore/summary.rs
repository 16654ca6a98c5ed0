//! The results of a restore, as text and as JSON (docs/save.md).

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use ctnl::table::Occupancy;
use ctnl::text::printable;
use ctnl::units::{Nanos, Seconds};
use nix::errno::Errno;
use serde::Serialize;

use crate::term::console::{Console, percent};
use crate::term::exit::Exit;
use crate::term::stdout::print;

/// Version of the JSON document.
const VERSION: u32 = 1;

/// The results of a restore.
///
/// `entries` is the sum of `restored`, `existing`, `expired`, `skipped`, `failed`, `unanswered` and `unsent`.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Version of this document.
    pub v: u32,
    /// `restore`.
    pub command: &'static str,
    /// Nothing was changed.
    pub dry_run: bool,
    /// The file.
    pub file: String,
    /// `binary`, or `save` for the lines of conntrack.
    pub format: &'static str,
    /// When it was saved, in nanoseconds since 1970; absent where the format has no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_at: Option<u64>,
    /// The kernel of which the table was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub saved_kernel: String,
    /// The host of which the table was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub saved_host: String,
    /// The filter with which it was saved.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub saved_filter: String,
    /// The file is cut short: `entries` are those before the cut.
    pub incomplete: bool,
    /// Entries in the file.
    pub entries: u64,
    /// Entries in the file by zone.
    pub zones: BTreeMap<u16, u64>,
    /// Entries that were created; of a dry run, those that would be.
    pub restored: u64,
    /// Entries that were not created because one with a tuple of theirs exists.
    pub existing: u64,
    /// Entries whose timeout has run out since they were saved.
    pub expired: u64,
    /// Entries that cannot be created, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Entries that the kernel refused, by error name.
    pub failed: BTreeMap<String, u64>,
    /// Entries whose answer was lost.
    pub unanswered: u64,
    /// Entries that were not sent.
    pub unsent: u64,
    /// The table was full, so the rest was not sent.
    pub table_full: bool,
    /// Entries of flowtables, to be created as tracked ones.
    pub offloaded: u64,
    /// Expected entries (RELATED), to be created without their master.
    pub without_master: u64,
    /// Entries with a security context, to be created without it.
    pub without_secctx: u64,
    /// Timeouts were lowered by the time since they were saved.
    pub aged: bool,
    /// A signal ended it early.
    pub interrupted: bool,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Entries of the table before.
    pub table_before: u32,
    /// Entries of the table after; `None` where the count failed.
    pub table_after: Option<u32>,
    /// `nf_conntrack_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_max: Option<u32>,
    /// How long it took.
    pub seconds: f64,
}

impl Summary {
    /// An empty summary.
    pub fn new(file: &str, dry_run: bool) -> Self {
        Summary { v: VERSION, command: "restore", file: file.to_owned(), dry_run, ..Summary::default() }
    }

    /// Sets the counts of the table.
    pub fn set_table(&mut self, before: Occupancy, after: Option<Occupancy>) {
        self.table_before = before.entries;
        self.table_after = after.map(|after| after.entries);
        self.table_max = before.max.filter(|max| *max > 0);
    }

    fn is_partial(&self) -> bool {
        let not_done = self.unanswered + self.unsent > 0 || !self.failed.is_empty();
        not_done || self.interrupted || self.error.is_some() || (!self.dry_run && !self.skipped.is_empty())
    }

    fn is_untouched(&self) -> bool {
        self.dry_run || self.restored + self.unanswered == 0
    }

    /// The summary as text; `now` is in nanoseconds since 1970.
    pub fn to_text(&self, now: Nanos) -> String {
        let mut text = format!("{} entries in {}", self.entries, self.file);
        if self.incomplete {
            text.push_str(", which is cut short");
        }
        self.write_origin(&mut text, now);
        let _ = write!(text, "\n{} {}", self.restored, if self.dry_run { "would be restored" } else { "restored" });
        let mut add = |count: u64, what: &str| {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        };
        add(self.existing, "already there");
        add(self.expired, "expired since they were saved");
        for (reason, count) in &self.skipped {
            add(*count, &format!("skipped: {reason}"));
        }
        for (errno, count) in &self.failed {
            add(*count, &format!("failed: {errno}"));
        }
        add(self.unanswered, "unanswered");
        add(self.unsent, "not sent");
        add(self.offloaded, "of flowtables, as tracked ones");
        add(self.without_master, "without their master (RELATED)");
        add(self.without_secctx, "without their security context");
        let _ = write!(text, " in {:.2} s", self.seconds);
        self.write_table(&mut text);
        self.write_hints(&mut text);
        text
    }

    fn write_origin(&self, text: &mut String, now: Nanos) {
        let Some(saved) = self.saved_at else {
            text.push_str(" (this format has no time: timeouts are as in the file)");
            return;
        };
        let _ = match now.since(Nanos(saved)).seconds() {
            _ if saved > now.0 => write!(text, " (saved"),
            Seconds(0) => write!(text, " (saved just now"),
            since => write!(text, " (saved {since} ago"),
        };
        if !self.saved_kernel.is_empty() {
            let _ = write!(text, " on Linux {}", printable(&self.saved_kernel));
        }
        if saved > now.0 {
            text.push_str("; its time is later than this host's clock, so timeouts are as in the file");
        }
        text.push(')');
    }

    fn write_table(&self, text: &mut String) {
        let _ = match (self.dry_run, self.table_after) {
            (true, _) => write!(text, "\ntable: {}", self.table_before),
            (false, Some(after)) => write!(text, "\ntable: {} → {after}", self.table_before),
            (false, None) => write!(text, "\ntable: {} → ?", self.table_before),
        };
        if let (Some(max), Some(now)) = (self.table_max, self.table_after) {
            let _ = write!(text, " of {max} ({})", percent(now.into(), max.into()));
        }
    }

    fn write_hints(&self, text: &mut String) {
        if self.interrupted {
            text.push_str("\ninterrupted; the same restore can be repeated: what exists is left as it is");
        }
        if self.table_full {
            text.push_str(
                "\nthe table is full: the rest was not sent, since the kernel would evict other entries for it\n  hint: raise \
                 net.netfilter.nf_conntrack_max, then repeat the restore",
            );
        }
        let has_failed = |errno: Errno| self.failed.contains_key(&format!("{errno:?}"));
        if has_failed(Errno::EOPNOTSUPP) {
            text.push_str(
                "\n  hint: EOPNOTSUPP: a helper, NAT or zones that this kernel has not loaded (nf_conntrack_ftp, nf_nat)",
            );
        }
        if has_failed(Errno::EAGAIN) {
            text.push_str("\n  hint: EAGAIN: the kernel has just loaded a helper; repeat the restore");
        }
        if has_failed(Errno::ENOSPC) {
            text.push_str("\n  hint: ENOSPC: the hash chain is too long; raise nf_conntrack_buckets");
        }
    }
}

/// Prints `summary`, as JSON on standard output or as text on stderr. The exit code that it stands for.
///
/// # Errors
/// Standard output failed and nothing has changed in the table.
pub fn report(summary: &Summary, now: Nanos, console: &mut Console, as_json: bool) -> Result<Exit> {
    let printed = if as_json { print(format!("{}\n", serde_json::to_string(summary)?)) } else { Ok(()) };
    if summary.is_partial() || printed.is_err() {
        console.warn(&summary.to_text(now));
    } else if !as_json {
        console.note(&summary.to_text(now));
    }
    if let Some(error) = &summary.error {
        console.warn(&format!("ended early: {error}"));
    }
    match printed {
        Err(error) if summary.is_untouched() => return Err(error),
        Err(error) => {
            console.warn(&format!("ctnl: {error:#}"));
            return Ok(Exit::Partly);
        }
        Ok(()) => {}
    }
    Ok(match (summary.is_partial(), summary.is_untouched() && summary.existing == 0) {
        (true, true) if !summary.interrupted => Exit::Failed,
        (true, _) => Exit::Partly,
        (false, _) => Exit::Done,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_adds_no_line_to_the_summary_and_its_later_time_is_not_now() {
        let (saved_at, saved_kernel) = (Some(5_000_000_000), "6.12\n9 restored".to_owned());
        let text = Summary { saved_at, saved_kernel, ..Summary::new("file", false) }.to_text(Nanos(0));
        assert!(!text.contains("\n9 restored") && text.contains("\n0 restored"), "{text}");
        assert!(text.contains("later than this host's clock") && !text.contains("just now"), "{text}");
    }
}
