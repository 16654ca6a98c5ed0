//! The results of a purge, as text and as JSON (docs/summary.md).

use std::collections::BTreeMap;
use std::fmt::Write;

use ctnl::filter::Filter;
use ctnl::netlink::Error;
use ctnl::table::{Deletions, Occupancy};
use nix::errno::Errno;
use serde::Serialize;

use super::options::Options;
use super::task::Task;
use super::undo_file::Saved;
use crate::term::console::percent;

/// Version of the JSON document.
const VERSION: u32 = 1;

/// The results of a purge.
///
/// `matched` is the sum of `deleted`, `updated`, `unchanged`, `gone`, `no_longer_matching`, `spared`, `beyond_max`, `beyond_agreed`,
/// `already_expiring`, `skipped`, `failed`, `unanswered` and `unsent`.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Version of this document.
    pub v: u32,
    /// The command.
    pub command: &'static str,
    /// Nothing was changed.
    pub dry_run: bool,
    /// `delete`; `soft`: timeouts are lowered to `soft_seconds`; `update`.
    pub action: &'static str,
    /// See `action`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_seconds: Option<u32>,
    /// The filter as it was parsed.
    pub filter: String,
    /// Entries that were dumped, each once.
    pub seen: u64,
    /// Entries that match.
    pub matched: u64,
    /// Entries deleted, or whose timeout was lowered.
    pub deleted: u64,
    /// With `update`: entries that were changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<u64>,
    /// With `update`: entries that were as wanted already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchanged: Option<u64>,
    /// With `update`: entries among `gone` and `failed` of which a part was changed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partly: Option<u64>,
    /// Entries that were already gone.
    pub gone: u64,
    /// Entries that were read again before their delete, because too much time had passed or the settings
    /// had changed. They are counted by what became of them, too.
    pub rechecked: u64,
    /// Those of them that no longer matched.
    pub no_longer_matching: u64,
    /// Entries of the own SSH session.
    pub spared: u64,
    /// `spared` are all connections of the host's SSH server, since none is certainly the own session.
    #[serde(skip_serializing_if = "is_false")]
    pub spared_all_ssh: bool,
    /// Entries beyond `--max`.
    pub beyond_max: u64,
    /// Entries beyond the number that was agreed to.
    pub beyond_agreed: u64,
    /// Entries that already expire within the `--soft` timeout.
    pub already_expiring: u64,
    /// Entries that a delete cannot identify, or whose timeout cannot be lowered, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Entries of which it is undecided whether they match, by reason.
    pub undecided: BTreeMap<&'static str, u64>,
    /// Entries that match and that `--confirm-idle` did not confirm: they had a packet between the two
    /// samples, or did not match at the first one. They are not part of `matched`.
    pub unconfirmed: u64,
    /// Failed deletes by error name.
    pub failed: BTreeMap<String, u64>,
    /// Deletes whose answer was lost.
    pub unanswered: u64,
    /// Deletes that were not sent, because an earlier one ended with an error.
    pub unsent: u64,
    /// A signal ended it early.
    pub interrupted: bool,
    /// The kernel's hash table was resized during the dump, so entries may have been missed.
    pub resized: bool,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Entries before.
    pub table_before: u32,
    /// Entries after; `None` where the count failed.
    pub table_after: Option<u32>,
    /// `nf_conntrack_max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_max: Option<u32>,
    /// How long it took.
    pub seconds: f64,
    /// The longest time from reading an entry to the end of its delete, or of the change of its timeout, in
    /// milliseconds: a packet that arrives within this time is not noticed.
    pub window_ms: f64,
    /// The file of `--save`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_to: Option<String>,
    /// Entries that were written to it, each before its delete was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved: Option<u64>,
    /// It has its end, so `ctnl restore` takes it as it is.
    #[serde(skip)]
    is_save_whole: bool,
    /// Of a preview: what would be deleted, by state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_state: Vec<Share>,
    /// Of a preview: what would be deleted, by the sources with most entries, of those seen first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_source: Vec<Share>,
    /// Of a preview: entries whose sources are not among the 4096 seen first.
    #[serde(skip_serializing_if = "is_zero")]
    pub by_source_beyond: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde requires")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
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
    /// An empty summary.
    pub fn new(options: &Options, filter: &Filter) -> Self {
        Summary {
            v: VERSION,
            command: options.command,
            dry_run: options.preview,
            action: match options.task {
                Task::Delete => "delete",
                Task::LowerTimeout(_) => "soft",
                Task::CapTimeout(_) | Task::Update(_) => "update",
            },
            soft_seconds: options.task.written_timeout().filter(|_| !options.task.is_update()),
            updated: options.task.is_update().then_some(0),
            unchanged: options.task.is_update().then_some(0),
            partly: options.task.is_update().then_some(0),
            filter: filter.to_string(),
            ..Summary::default()
        }
    }

    /// Sets the number of entries that were, or would be, deleted or updated.
    pub fn set_done(&mut self, entries: u64) {
        match &mut self.updated {
            Some(updated) => *updated = entries,
            None => self.deleted = entries,
        }
    }

    /// Entries that were, or would be, deleted or updated.
    pub fn done(&self) -> u64 {
        self.updated.unwrap_or(self.deleted)
    }

    /// Sets the number of entries for which there was nothing to do.
    pub fn set_already_done(&mut self, entries: u64) {
        match &mut self.unchanged {
            Some(unchanged) => *unchanged = entries,
            None => self.already_expiring = entries,
        }
    }

    /// Adds the results of the requests.
    pub fn add(&mut self, deletions: &Deletions, error: Option<&Error>) {
        let outcome = &deletions.outcome;
        self.rechecked = deletions.rechecked;
        self.no_longer_matching = deletions.no_longer_matching;
        // To the microsecond.
        self.window_ms = (deletions.window.as_millis_f64() * 1000.0).round() / 1000.0;
        self.set_done(outcome.done);
        self.partly = self.partly.map(|_| outcome.partly);
        self.gone = outcome.gone;
        self.unanswered = outcome.unanswered;
        self.unsent = outcome.unsent;
        for (errno, count) in &outcome.failed {
            self.failed.insert(format!("{:?}", Errno::from_raw(*errno)), *count);
        }
        self.error = error.map(ToString::to_string);
    }

    /// Adds the results of `--save`. Where it failed, that is why the purge ended early.
    pub fn add_saved(&mut self, saved: Saved) {
        self.saved_to = Some(saved.name);
        self.saved = Some(saved.entries);
        self.is_save_whole = saved.error.is_none();
        if let Some(error) = saved.error {
            self.error = Some(error);
        }
    }

    /// Sets the counts of the table.
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
            || (!self.dry_run && !self.skipped.is_empty())
    }

    /// Whether nothing has changed for certain.
    pub fn is_untouched(&self) -> bool {
        self.dry_run || self.done() + self.partly.unwrap_or(0) + self.gone + self.unanswered == 0
    }

    /// The summary as text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{} matched", self.matched);
        let verb = match (self.dry_run, self.soft_seconds) {
            (true, None) if self.updated.is_some() => "would be updated".to_owned(),
            (false, None) if self.updated.is_some() => "updated".to_owned(),
            (true, Some(seconds)) => format!("would be given a timeout of {seconds} s"),
            (true, None) => "would be deleted".to_owned(),
            (false, Some(seconds)) => format!("given a timeout of {seconds} s"),
            (false, None) => "deleted".to_owned(),
        };
        add(&mut text, self.done(), &verb, true);
        add(&mut text, self.unchanged.unwrap_or(0), "already as wanted", false);
        add(&mut text, self.gone, "already gone", false);
        add(&mut text, self.no_longer_matching, "no longer matching when read again", false);
        let spared = if self.spared_all_ssh { ALL_SSH } else { "spared (own SSH session)" };
        add(&mut text, self.spared, spared, false);
        add(&mut text, self.beyond_max, "beyond --max", false);
        add(&mut text, self.beyond_agreed, "more than was agreed to", false);
        add(&mut text, self.already_expiring, "already expiring within the --soft timeout", false);
        add(&mut text, self.unconfirmed, UNCONFIRMED, false);
        for (reason, count) in &self.skipped {
            add(&mut text, *count, &format!("skipped: {reason}"), false);
        }
        for (errno, count) in &self.failed {
            add(&mut text, *count, &format!("failed: {errno}"), false);
        }
        add(&mut text, self.partly.unwrap_or(0), "of those changed in part", false);
        add(&mut text, self.unanswered, "unanswered", false);
        add(&mut text, self.unsent, "not sent", false);
        let _ = write!(text, "; {} entries seen in {:.2} s", self.seen, self.seconds);
        self.write_window(&mut text);
        self.write_table(&mut text);
        if let (Some(name), Some(saved)) = (&self.saved_to, self.saved) {
            let _ = write!(text, "\n{saved} saved to {name}");
            if saved > 0 && self.is_save_whole {
                let _ = write!(text, "; undo with: ctnl restore {name}");
            }
        }
        if self.interrupted {
            text.push_str("\ninterrupted before the end of the table");
        }
        text
    }

    fn write_window(&self, text: &mut String) {
        if self.window_ms > 0.0 {
            let is_changed = self.soft_seconds.is_some() || self.updated.is_some();
            let verb = if is_changed { "changed" } else { "deleted" };
            let _ = write!(text, ", each {verb} within {:.1} ms of being read", self.window_ms);
        }
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

/// `spared` with `spared_all_ssh`, as text.
const ALL_SSH: &str = "spared (all of this host's SSH server: none is certainly your own)";
/// Entries that match and are not confirmed, as text.
const UNCONFIRMED: &str = "not confirmed by --confirm-idle (active between the two samples, or no match at the first)";

fn add(text: &mut String, count: u64, what: &str, also_zero: bool) {
    if count > 0 || also_zero {
        let _ = write!(text, ", {count} {what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_that_of_a_delete_or_of_a_change_of_the_timeout() {
        let summary = |soft_seconds| Summary { soft_seconds, window_ms: 0.12, ..Summary::default() }.to_text();
        assert!(summary(None).contains(", each deleted within 0.1 ms of being read"), "{}", summary(None));
        let soft = summary(Some(5));
        assert!(soft.contains(", each changed within 0.1 ms of being read") && !soft.contains("deleted"), "{soft}");
        let untouched = Summary::default().to_text();
        assert!(!untouched.contains("within"), "{untouched}");
    }
}
