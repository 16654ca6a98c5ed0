//! Print the summary of a purge.

use anyhow::Result;
use ctnl::model::Undecided;

use super::chooser::MOST_SOURCES;
use super::summary::{Share, Summary};
use crate::term::columns::Columns;
use crate::term::console::{Console, percent};
use crate::term::exit::Exit;
use crate::term::stdout::print;

/// Prints `summary`: as JSON on standard output, or as text on stderr, and the breakdown of a preview
/// on standard output. The exit code that it stands for; with `fail_if_none`, no match is a failure.
///
/// # Errors
/// Standard output failed and nothing has changed in the table.
pub fn report(summary: &Summary, console: &mut Console, as_json: bool, fail_if_none: bool) -> Result<Exit> {
    let document = if as_json {
        format!("{}\n", serde_json::to_string(summary)?)
    } else if summary.dry_run {
        breakdown(summary)
    } else {
        String::new()
    };
    let printed = print(&document);
    // Errors are printed also with --quiet, and so is the summary where standard output failed.
    if summary.is_partial() || printed.is_err() {
        console.warn(&summary.to_text());
    } else if !as_json {
        console.note(&summary.to_text());
    }
    for (why, count) in &summary.undecided {
        let reason = Undecided::ALL.into_iter().find(|reason| reason.name() == *why);
        console.note(&format!("undecided: {count} {why}: {}", reason.map_or("", |reason| reason.hint())));
    }
    for errno in summary.failed.keys().filter(|_| summary.updated.is_some()) {
        if let Some(hint) = hint(errno) {
            console.warn(&format!("  hint: {errno}: {hint}"));
        }
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
    Ok(match (summary.is_partial(), summary.is_untouched(), summary.matched) {
        (true, true, _) if !summary.interrupted => Exit::Failed,
        (true, ..) => Exit::Partly,
        (false, _, 0) if fail_if_none => Exit::Failed,
        _ => Exit::Done,
    })
}

/// What an error of an update means (`ctnetlink_change_conntrack` in net/netfilter/nf_conntrack_netlink.c).
fn hint(errno: &str) -> Option<&'static str> {
    match errno {
        "ENOSPC" => Some(
            "the entry has no room for labels, which the kernel gives to those that are created while a rule of nftables \
             or iptables uses labels",
        ),
        "EBUSY" => Some("the status of the entry changed meanwhile: run it again"),
        "EPERM" => Some("the timeout of the entry is fixed by now"),
        "EOPNOTSUPP" => Some("the kernel is built without labels, or (since 7.3) removes no helper"),
        _ => None,
    }
}

/// The tables of a preview.
fn breakdown(summary: &Summary) -> String {
    let table = |head: &str, shares: &[Share]| {
        let mut columns = Columns::new(vec!["ENTRIES".into(), "SHARE".into(), head.into()], 2);
        for share in shares {
            let part = percent(share.entries, summary.done());
            columns.push(vec![share.entries.to_string(), part, share.key.clone()]);
        }
        columns.to_text()
    };
    if summary.done() == 0 {
        return String::new();
    }
    let mut text = format!("{}\n{}", table("STATE", &summary.by_state), table("TOP SOURCES", &summary.by_source));
    if summary.by_source_beyond > 0 {
        text.push_str(&format!(
            "\n{} more of sources that are not among the {MOST_SOURCES} seen first; count them with: ctnl count --by src\n",
            summary.by_source_beyond,
        ));
    }
    text
}
