//! What a flush did, for a person and for a script.

use std::collections::BTreeMap;
use std::fmt::Write;

use ctnl::table::{Flush, Occupancy};
use nix::errno::Errno;
use serde::Serialize;

use crate::term::console::percent;

/// What a flush did, as text and as JSON.
///
/// `matched` is the sum of `deleted`, `gone`, `spared`, `left`, `expiring`,
/// `not_deletable`, `failed`, `unanswered` and `unsent`.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Version of this document.
    pub v: u32,
    /// `flush` or `delete`.
    pub command: &'static str,
    /// Nothing was changed.
    pub dry_run: bool,
    /// `delete`, or `soft` with the seconds that were left to each entry.
    pub action: &'static str,
    /// See `action`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_seconds: Option<u32>,
    /// The filter as it was understood.
    pub filter: String,
    /// Entries that were looked at.
    pub seen: u64,
    /// Entries that match, also those that were spared or left.
    pub matched: u64,
    /// Entries deleted, or whose timeout was lowered.
    pub deleted: u64,
    /// Entries that were gone before the delete came.
    pub gone: u64,
    /// Entries of the own SSH session.
    pub spared: u64,
    /// Entries left because of `--max`.
    pub left: u64,
    /// Entries left because they expire within the time of `--soft` anyway.
    pub expiring: u64,
    /// Entries that cannot be named for certain, or not given a short timeout, by reason.
    pub not_deletable: BTreeMap<String, u64>,
    /// Entries of which it is not certain whether they match, by reason.
    pub undecided: BTreeMap<&'static str, u64>,
    /// Entries that match, but moved between the two looks of `--confirm-idle`, or did not match at the first.
    pub moved: u64,
    /// Failed deletes by error name.
    pub failed: BTreeMap<String, u64>,
    /// Deletes whose answer was lost.
    pub unanswered: u64,
    /// Entries that were chosen and not sent, since it ended early.
    pub unsent: u64,
    /// A signal ended it early.
    pub interrupted: bool,
    /// The kernel's hash table was resized meanwhile, so entries may have been missed.
    pub resized: bool,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Entries before.
    pub table_before: u32,
    /// Entries after; none where the kernel did not say.
    pub table_after: Option<u32>,
    /// `nf_conntrack_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_max: Option<u32>,
    /// How long it took.
    pub seconds: f64,
    /// Of a dry run: what would go, by state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_state: Vec<Share>,
    /// Of a dry run: what would go, by the sources with most entries, of those that were met first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_source: Vec<Share>,
    /// Of a dry run: entries whose sources are not among the 4096 that were met first.
    #[serde(skip_serializing_if = "is_zero")]
    pub by_source_beyond: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One row of a breakdown.
#[derive(Debug, Serialize)]
pub struct Share {
    /// The value of the field.
    pub key: String,
    /// Entries with it.
    pub entries: u64,
}

impl Summary {
    /// Takes over what became of the deletes.
    pub fn add(&mut self, flush: &Flush) {
        self.seen = flush.dump.entries;
        self.deleted = flush.outcome.done;
        self.gone = flush.outcome.gone;
        self.unanswered = flush.outcome.unanswered;
        self.unsent = flush.unsent;
        for (errno, count) in &flush.outcome.failed {
            self.failed.insert(format!("{:?}", Errno::from_raw(*errno)), *count);
        }
        self.error = flush.error.as_ref().map(ToString::to_string);
    }

    /// Takes over how full the table was.
    pub fn set_table(&mut self, before: Occupancy, after: Option<Occupancy>) {
        self.table_before = before.entries;
        self.table_after = after.map(|after| after.entries);
        self.table_max = after.unwrap_or(before).max.filter(|max| *max > 0);
    }

    /// Whether something that should have been done was not.
    pub fn is_partial(&self) -> bool {
        let not_done = self.unanswered > 0 || self.unsent > 0 || !self.failed.is_empty();
        not_done
            || self.interrupted
            || self.resized
            || self.error.is_some()
            || (!self.dry_run && !self.not_deletable.is_empty())
    }

    /// Whether nothing has changed for certain.
    pub fn is_untouched(&self) -> bool {
        self.dry_run || self.deleted + self.gone + self.unanswered == 0
    }

    /// The summary for a person.
    pub fn to_text(&self) -> String {
        let mut text = format!("{} matched", self.matched);
        let verb = match (self.dry_run, self.action) {
            (true, "soft") => "would be given a short timeout",
            (true, _) => "would be deleted",
            (false, "soft") => "given a short timeout",
            (false, _) => "deleted",
        };
        add(&mut text, self.deleted, verb, true);
        add(&mut text, self.gone, "already gone", false);
        add(&mut text, self.spared, "spared (own SSH session)", false);
        add(&mut text, self.left, "left because of --max", false);
        add(&mut text, self.expiring, "expiring by themselves", false);
        add(&mut text, self.moved, "in use between the two looks, or no match at the first", false);
        for (reason, count) in &self.not_deletable {
            add(&mut text, *count, &format!("not touched: {reason}"), false);
        }
        for (errno, count) in &self.failed {
            add(&mut text, *count, &format!("failed ({errno})"), false);
        }
        add(&mut text, self.unanswered, "without an answer", false);
        add(&mut text, self.unsent, "not tried", false);
        let _ = write!(text, "; {} entries seen in {:.2} s", self.seen, self.seconds);
        self.write_table(&mut text);
        if self.interrupted {
            text.push_str("\ninterrupted before the end of the table");
        }
        text
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
}

fn add(text: &mut String, count: u64, what: &str, also_zero: bool) {
    if count > 0 || also_zero {
        let _ = write!(text, ", {count} {what}");
    }
}
