//! Apply changes one after the other, read each back, and undo all where one fails.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use std::io;

use super::change::{Change, Place};
use super::places::Places;

/// Why changes were not applied, and what became of those before the one that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed, or which signal ended it.
    pub why: String,
    /// Those that could not be undone. Everything else is as before.
    pub not_undone: Vec<NotUndone>,
}

/// A change that could not be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUndone {
    /// The setting or file.
    pub name: String,
    /// What it was to contain again, in a line.
    pub wanted: String,
    /// What was tried, and the error.
    pub why: String,
}

/// Applies `changes` in their order; the values that were read back become their new ones (the kernel rounds buckets).
/// `interrupted` returns the name of a signal that came.
///
/// # Errors
/// One failed, or a signal came: then those before it are undone, in the reverse order.
pub fn apply(
    places: &mut dyn Places,
    changes: &mut [Change],
    interrupted: &dyn Fn() -> Option<&'static str>,
) -> Result<(), Failure> {
    for index in 0..changes.len() {
        let (before, rest) = changes.split_at_mut(index);
        let Some(change) = rest.first_mut() else { break };
        let failed = match interrupted() {
            Some(signal) => Some((format!("ended by {signal}"), false)),
            None => apply_one(places, change).err(),
        };
        if let Some((why, was_written)) = failed {
            let mut not_undone = Vec::new();
            if was_written {
                // In part, or as another value.
                not_undone.extend(not_put_back(change, put_back(places, change)));
            }
            not_undone.extend(undo(places, before));
            return Err(Failure { why, not_undone });
        }
    }
    // Also one that came during the last write.
    match interrupted() {
        Some(signal) => Err(Failure { why: format!("ended by {signal}"), not_undone: undo(places, changes) }),
        None => Ok(()),
    }
}

/// Why it failed, and whether it may have been written.
fn apply_one(places: &mut dyn Places, change: &mut Change) -> Result<(), (String, bool)> {
    let unwritten = |why| (why, false);
    let place =
        change.place().ok_or_else(|| unwritten(format!("'{}' is nothing that ctnl tune writes", change.path)))?;
    let now = read(places, place, change).map_err(unwritten)?;
    if now != change.from {
        return Err(unwritten(format!(
            "{} was changed by somebody else meanwhile: expected {}, found {}",
            change.name(),
            shown(place, change.from.as_deref()),
            shown(place, now.as_deref())
        )));
    }
    write_and_verify(places, place, change).map_err(|why| (why, true))
}

fn write_and_verify(places: &mut dyn Places, place: Place, change: &mut Change) -> Result<(), String> {
    let wanted = shown(place, change.to.as_deref());
    let written = places.write(place, change.to.as_deref());
    written.map_err(|error| format!("write {wanted} to {}: {}", change.path, describe(&error)))?;
    let read_back = read(places, place, change)?;
    if !places.is_accepted(place, change.to.as_deref(), read_back.as_deref()) {
        let found = shown(place, read_back.as_deref());
        return Err(format!("{wanted} was written to {} without an error, and {found} was read back", change.path));
    }
    change.to = read_back;
    Ok(())
}

/// Undoes `changes` in the reverse order. What is as before already is left, and so is what somebody else changed since.
/// Returns those that could not be undone.
pub fn undo(places: &mut dyn Places, changes: &[Change]) -> Vec<NotUndone> {
    undo_all(places, changes, false)
}

/// As [`undo`], but a setting that somebody else changed since is put back, too. A file never is: as a whole it is what they
/// made of it.
pub fn undo_by_force(places: &mut dyn Places, changes: &[Change]) -> Vec<NotUndone> {
    undo_all(places, changes, true)
}

fn undo_all(places: &mut dyn Places, changes: &[Change], force: bool) -> Vec<NotUndone> {
    changes.iter().rev().filter_map(|change| not_put_back(change, undo_one(places, change, force))).collect()
}

fn not_put_back(change: &Change, result: Result<(), String>) -> Option<NotUndone> {
    let wanted = change.place().map_or_else(String::new, |place| shown(place, change.from.as_deref()));
    result.err().map(|why| NotUndone { name: change.name().to_owned(), wanted, why })
}

fn undo_one(places: &mut dyn Places, change: &Change, force: bool) -> Result<(), String> {
    let Some(place) = change.place() else { return Err("it is nothing that ctnl tune writes".to_owned()) };
    let now = read(places, place, change)?;
    if now == change.from {
        return Ok(());
    }
    // No tolerance: the new value is the one that was read back.
    if now != change.to && !(force && matches!(place, Place::Sysctl(_))) {
        let [set, now] = [&change.to, &now].map(|text| shown(place, text.as_deref()));
        return Err(format!("somebody else changed it since, from {set} to {now}: it is left"));
    }
    put_back(places, change)
}

fn put_back(places: &mut dyn Places, change: &Change) -> Result<(), String> {
    let Some(place) = change.place() else { return Ok(()) };
    if read(places, place, change).is_ok_and(|now| now == change.from) {
        return Ok(());
    }
    let written = places.write(place, change.from.as_deref());
    written.map_err(|error| format!("write {}: {}", change.path, describe(&error)))?;
    let now = read(places, place, change)?;
    if places.is_accepted(place, change.from.as_deref(), now.as_deref()) {
        return Ok(());
    }
    Err(format!("{} has {} after the write", change.path, shown(place, now.as_deref())))
}

fn read(places: &mut dyn Places, place: Place, change: &Change) -> Result<Option<String>, String> {
    places.read(place).map_err(|error| format!("read {}: {}", change.path, describe(&error)))
}

/// A value, or a file by its length.
fn shown(place: Place, content: Option<&str>) -> String {
    match (place, content) {
        (Place::Sysctl(setting), text) => setting.show_text(text),
        (Place::File(_), None) => "no file".to_owned(),
        (Place::File(_), Some(text)) => format!("{} lines", text.lines().count()),
    }
}

/// The error with the name of its errno.
pub fn describe(error: &io::Error) -> String {
    let errno = error.raw_os_error().map(nix::errno::Errno::from_raw);
    errno.map_or_else(|| error.to_string(), |errno| format!("{errno:?} ({})", errno.desc()))
}
