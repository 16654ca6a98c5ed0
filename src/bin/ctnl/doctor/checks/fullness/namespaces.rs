//! The tables of other network namespaces, and those that could not be read.

use super::NEARLY_FULL;
use crate::doctor::evidence::{Evidence, NamespaceTable, command_in};
use crate::doctor::finding::{Finding, Severity};
use crate::term::console::percent;

/// A finding for the table of another namespace.
pub fn other_namespace(table: &NamespaceTable) -> Option<Finding> {
    let (entries, max) = (u64::from(table.occupancy.entries), u64::from(table.occupancy.max?));
    if table.is_own || max == 0 || entries.saturating_mul(100) < max.saturating_mul(NEARLY_FULL) {
        return None;
    }
    let (severity, title) = if entries >= max {
        (Severity::Critical, format!("the table of the namespace {} is full: {entries} of {max} entries", table.name))
    } else {
        (Severity::Warning, format!("the table of the namespace {} is {} full", table.name, percent(entries, max)))
    };
    let finding = Finding::new(severity, title, "New connections of that namespace fail, or soon will.")
        .evidence(format!("{entries} of {max} entries: nf_conntrack_max is the maximum of each namespace"))
        .figure("netns", table.name.clone())
        .figure("entries", entries)
        .figure("max", max);
    Some(match &table.argument {
        Some(netns) => finding.command(command_in(Some(netns), "doctor")),
        None => finding,
    })
}

/// Most names that are listed.
const NAMED: usize = 5;

/// Namespaces whose tables are unknown.
pub fn unread_namespaces(evidence: &Evidence) -> Option<Finding> {
    let tables = evidence.namespaces.as_ref().ok()?;
    let (unreadable, hidden) = (&tables.unreadable, tables.hidden_processes);
    if unreadable.is_empty() && hidden == 0 {
        return None;
    }
    let title = match unreadable.len() {
        0 => "some network namespaces may not have been found".to_owned(),
        1 => "a network namespace could not be read".to_owned(),
        count => format!("{count} network namespaces could not be read"),
    };
    let mut finding = Finding::new(Severity::Note, title, "Whether their tables are full is unknown.");
    for (name, why) in unreadable.iter().take(NAMED) {
        finding = finding.evidence(format!("{name}: {why}"));
    }
    if unreadable.len() > NAMED {
        finding = finding.evidence(format!("and {} more", unreadable.len() - NAMED));
    }
    if hidden > 0 {
        finding = finding.evidence(format!("the namespaces of {hidden} processes are hidden (needs CAP_SYS_PTRACE)"));
    }
    Some(finding.figure("unreadable", unreadable.len()).figure("hidden_processes", hidden))
}
