//! What is printed of an operation: the diff before, and the result.

use anyhow::Result;
use ctnl::text::printable_lines;
use serde_json::{Value, json};

use super::existing::Capped;
use crate::term::columns::Columns;
use crate::term::console::Console;
use crate::term::exit::Exit;
use crate::term::stdout::print;
use crate::tune::{Change, End, MaxAtBoot, Place, Setting, State, VERSION, diff};

/// The lines of the changes: settings first, then files with the lines that differ.
pub fn diff_text(changes: &[Change]) -> String {
    let mut columns = Columns::new(vec!["SETTING".into(), "NOW".into(), "NEW".into()], 0);
    let settings: Vec<_> = changes.iter().filter_map(|change| Some((setting_of(change)?, change))).collect();
    for (setting, change) in &settings {
        let [from, to] = [&change.from, &change.to].map(|text| setting.show_text(text.as_deref()));
        columns.push(vec![setting.name().to_owned(), from, to]);
    }
    let mut text = if settings.is_empty() { String::new() } else { columns.to_text() };
    for change in changes.iter().filter(|change| matches!(change.place(), Some(Place::File(_)))) {
        let what = match (&change.from, &change.to) {
            (None, _) => " (new file)",
            (_, None) => " (removed)",
            _ => "",
        };
        text.push_str(&format!("{}{what}\n", change.path));
        let lines = diff(change.from.as_deref(), change.to.as_deref());
        lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    text
}

/// Shows a diff: on stdout where nothing else is done (`dry_run`; JSON has it in its object), else before the question.
pub fn show_diff(text: &str, dry_run: bool, as_json: bool, yes: bool, console: &mut Console) -> Result<()> {
    match (dry_run, as_json) {
        (true, true) => Ok(()),
        (true, false) => print(&*printable_lines(text)),
        (false, _) => {
            show_before(text.trim_end(), yes, console);
            Ok(())
        }
    }
}

/// Prints what is going to be changed. Whoever is asked sees it, also with --quiet.
fn show_before(text: &str, yes: bool, console: &mut Console) {
    match text {
        "" => {}
        text if console.can_ask() && !yes => console.warn(text),
        text => console.note(text),
    }
}

fn setting_of(change: &Change) -> Option<Setting> {
    match change.place() {
        Some(Place::Sysctl(setting)) => Some(setting),
        _ => None,
    }
}

/// What an operation did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// `set`, `confirm` or `revert`.
    pub command: &'static str,
    /// The operation; none where nothing was to be changed, and in a preview.
    pub op: Option<u64>,
    /// A preview.
    pub dry_run: bool,
    /// The end; none in a preview and where nothing was to be changed.
    pub end: Option<End>,
    /// It was confirmed.
    pub confirmed: bool,
    /// What is or would be changed.
    pub changes: Vec<Change>,
    /// Seconds within which it is to be confirmed.
    pub confirm_within: Option<u64>,
    /// Timeouts of existing entries.
    pub existing: Vec<Capped>,
    /// The maximum at boot, where the buckets are set there and it is not.
    pub max_at_boot: Option<MaxAtBoot>,
    /// What the boot does otherwise.
    pub overridden: Vec<String>,
    /// Notes.
    pub notes: Vec<String>,
}

impl Outcome {
    fn state(&self) -> &'static str {
        match &self.end {
            _ if self.dry_run => "preview",
            None => "unchanged",
            Some(End::Applied(_)) if self.confirmed => State::Confirmed.key(),
            Some(End::Applied(_)) => State::Applied.key(),
            Some(End::Waiting(_)) => State::Waiting.key(),
            Some(End::RolledBack { not_undone, .. }) if not_undone.is_empty() => State::RolledBack.key(),
            Some(End::RolledBack { .. }) => State::PartlyRolledBack.key(),
        }
    }

    /// The exit code.
    fn exit(&self) -> Exit {
        match &self.end {
            Some(End::RolledBack { not_undone, .. }) if not_undone.is_empty() => Exit::Failed,
            Some(End::RolledBack { .. }) => Exit::Partly,
            _ if self.existing.iter().any(Capped::is_partial) || !self.overridden.is_empty() => Exit::Partly,
            _ => Exit::Done,
        }
    }

    fn json(&self) -> Value {
        let (error, not_undone) = match &self.end {
            Some(End::RolledBack { why, not_undone }) => (Some(why), not_undone.as_slice()),
            _ => (None, &[][..]),
        };
        let not_undone: Vec<_> = not_undone
            .iter()
            .map(|left| json!({"name": left.name, "wanted": left.wanted, "error": left.why}))
            .collect();
        json!({
            "v": VERSION,
            "command": self.command,
            "op": self.op,
            "dry_run": self.dry_run,
            "state": self.state(),
            "confirm_within": self.confirm_within,
            "changes": self.changes,
            "existing": self.existing.iter().map(Capped::json).collect::<Vec<_>>(),
            "max_at_boot": self.max_at_boot.as_ref().map(MaxAtBoot::json),
            "overridden_at_boot": self.overridden,
            "notes": self.notes,
            "error": error,
            "not_undone": not_undone,
        })
    }

    /// Prints it: as JSON on standard output, or as text on stderr.
    ///
    /// # Errors
    /// Standard output failed, and nothing was changed.
    pub fn report(&self, console: &mut Console, as_json: bool) -> Result<Exit> {
        self.print_text(console);
        if as_json {
            let printed = print(format!("{}\n", self.json()));
            if let Err(error) = printed {
                if self.end.is_none() {
                    return Err(error);
                }
                console.warn(&format!("ctnl: {error:#}"));
                return Ok(Exit::Partly);
            }
        }
        Ok(self.exit())
    }

    fn print_text(&self, console: &mut Console) {
        for capped in &self.existing {
            if capped.is_partial() { console.warn(&capped.text()) } else { console.note(&capped.text()) }
        }
        let op = self.op.map_or_else(String::new, |op| format!("operation {op}: "));
        match &self.end {
            Some(End::RolledBack { why, not_undone }) => {
                console.warn(&format!("{op}{why}"));
                if not_undone.is_empty() {
                    console.warn("rolled back: everything is as before");
                }
                for left in not_undone {
                    console.warn(&format!("not rolled back: {} (was {}): {}", left.name, left.wanted, left.why));
                }
            }
            Some(End::Waiting(_)) => console.note(&format!(
                "{op}in force, and rolled back in {} s unless it is confirmed\n  hint: ctnl tune confirm",
                self.confirm_within.unwrap_or(0)
            )),
            // The lines of the entries are above.
            Some(End::Applied(changes)) if changes.is_empty() => console.note(&format!("{op}no setting was changed")),
            Some(End::Applied(changes)) => {
                let what = if self.confirmed { "confirmed" } else { "applied" };
                let plural = if changes.len() == 1 { "" } else { "s" };
                console.note(&format!("{op}{what} and verified: {} change{plural}", changes.len()));
            }
            None if self.dry_run => console.note("nothing was changed (--dry-run)"),
            None => console.note("nothing to change"),
        }
    }
}
