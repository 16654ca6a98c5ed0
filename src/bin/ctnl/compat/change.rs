//! `-D`, `-U`, `-F`: delete and update entries, by the machinery of `flush` and `update`.

use anyhow::{Result, anyhow};
use ctnl::age::IdleEstimator;
use ctnl::field::Subject;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::model::{self, Flow, ProtoInfo, Protocol, TcpState};
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, DatagramTime, Masked, Patch, TcpPatch};

use super::output::Lines;
use super::{Labels, criteria, entry, message};
use crate::conntrack_syntax::{LabelChange, Mark, Request};
use crate::host::ssh::OwnSessions;
use crate::host::timeout_notes::{self, WrittenTimeout};
use crate::host::timeout_options::TimeoutOptions;
use crate::purge::{Options, Purge, Purged, Summary, Task};
use crate::scan::{Selection, Watch};
use crate::term::console::Console;
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;

/// `-D`.
pub fn delete(request: &Request, host: &Host) -> Result<Exit> {
    let count = delete_matching(request, &Interrupt::listen()?, host)?;
    Ok(message::counted(count, "flow entries have been deleted"))
}

/// Deletes what a request selects. Each entry is printed when it is chosen, before its delete is sent. The number of
/// deleted entries.
///
/// # Errors
/// Nothing was deleted, or not everything that was selected; or the lines could not be written.
pub fn delete_matching(request: &Request, interrupt: &Interrupt, host: &Host) -> Result<u64> {
    let filter = criteria::filter(request, host)?;
    let mut lines = Lines::of(request, host)?;
    let mut ages = IdleEstimator::without_timeouts(0);
    let print = |flow: &Flow, time: &DatagramTime| {
        ages.now = time.realtime.0;
        // What cannot be printed is deleted nevertheless: the failure is reported at the end.
        let _ = lines.add(&Subject::new(flow, &ages));
    };
    let summary = purge("delete", filter, Task::Delete, interrupt, host, print)?;
    let printed = lines.finish();
    check(&summary, "deleted")?;
    printed?;
    Ok(summary.deleted)
}

/// `-U`.
pub fn update(request: &Request, host: &Host) -> Result<Exit> {
    let count = update_matching(request, &Interrupt::listen()?, host)?;
    Ok(message::counted(count, "flow entries have been updated"))
}

/// Updates what a request selects and is not as it makes it already. Each entry is printed as it is after that, when
/// it is chosen. The number of updated entries.
///
/// # Errors
/// As [`delete_matching`].
pub fn update_matching(request: &Request, interrupt: &Interrupt, host: &Host) -> Result<u64> {
    let filter = criteria::filter(request, host)?;
    let patch = patch(request, host)?;
    if patch.is_empty() {
        return Ok(0);
    }
    let mut lines = Lines::of(request, host)?;
    let mut ages = IdleEstimator::without_timeouts(0);
    let print = |flow: &Flow, time: &DatagramTime| {
        ages.now = time.realtime.0;
        let _ = lines.add(&Subject::new(&patched(flow, &patch), &ages));
    };
    let summary = purge("update", filter, Task::Update(patch), interrupt, host, print)?;
    let printed = lines.finish();
    check(&summary, "updated")?;
    printed?;
    Ok(summary.updated.unwrap_or(0))
}

/// What `-U` changes.
///
/// # Errors
/// What cannot be changed: a state of another protocol than TCP, or a mark with bits outside of its mask.
pub fn patch(request: &Request, host: &Host) -> Result<Patch> {
    let mut patch = Patch { timeout: request.timeout, ..Patch::default() };
    if let Some(Mark { value, mask }) = request.mark {
        if value & !mask != 0 {
            return Err(usage("--mark: the value has bits outside of the mask"));
        }
        patch.mark = Some(Masked { value, mask });
    }
    if let Some(status) = request.status {
        patch.add_status = entry::settable(status.set)?;
    }
    match (request.protocol_arguments.state, request.protocol.map(Protocol::from)) {
        (None, _) => {}
        (Some(state), Some(Protocol::Tcp)) => {
            let state = TcpState::from(state);
            let flags = Some((entry::tcp_flags(state), entry::tcp_flags(state)));
            patch.tcp = TcpPatch { state: Some(state), flags_orig: flags, flags_reply: flags };
        }
        (Some(_), _) => return Err(usage("--state: only that of TCP can be updated")),
    }
    let labels = Labels::of(request, host);
    match &request.label_change {
        None => {}
        Some(LabelChange::Add(names)) => patch.add_labels = labels.numbers(names)?,
        Some(LabelChange::Delete(names)) => patch.remove_labels = labels.numbers(names)?,
        Some(LabelChange::DeleteAll) => patch.remove_labels = model::Labels::from_numbers(0..128),
    }
    Ok(patch)
}

/// The entry as a request that is applied leaves it; `-U` refers to it once more when it prints it.
fn patched(flow: &Flow, patch: &Patch) -> Flow {
    let mut after = flow.clone();
    after.use_count = after.use_count.map(|count| count.saturating_add(1));
    after.timeout = patch.timeout.or(after.timeout);
    after.status |= patch.add_status;
    if let Some(Masked { value, mask }) = patch.mark {
        after.mark = after.mark.map(|mark| mark & !mask | value & mask);
    }
    if let (ProtoInfo::Tcp(tcp), Some(state)) = (&mut after.protoinfo, patch.tcp.state) {
        tcp.state = state;
    }
    let (add, remove) = (patch.add_labels, patch.remove_labels);
    if !(add.is_empty() && remove.is_empty()) {
        let now = after.labels.unwrap_or_default();
        let left = now.numbers().filter(|number| !remove.contains(*number)).chain(add.numbers());
        after.labels = Some(model::Labels::from_numbers(left)).filter(|labels| !labels.is_empty());
    }
    after
}

/// `-F`.
pub fn flush(request: &Request, host: &Host) -> Result<Exit> {
    flush_table(request, &Interrupt::listen()?, host).map(|()| Exit::Done)
}

/// Deletes all entries, one by one: so a family is all that is deleted, and no request is without a tuple.
///
/// # Errors
/// As [`delete_matching`].
pub fn flush_table(request: &Request, interrupt: &Interrupt, host: &Host) -> Result<()> {
    let filter = criteria::family_filter(request.family)?;
    let summary = purge("flush", filter, Task::Delete, interrupt, host, |_, _| {})?;
    check(&summary, "deleted")?;
    message::line("connection tracking table has been emptied.");
    Ok(())
}

/// Deletes or updates what `filter` matches. `each` is called with each entry before its request is sent.
fn purge(
    command: &'static str,
    filter: Filter,
    task: Task,
    interrupt: &Interrupt,
    host: &Host,
    each: impl FnMut(&Flow, &DatagramTime) + Send,
) -> Result<Summary> {
    let mut console = Console::new(true, false);
    let mut connection = Connection::open(&Netns::Current)?;
    let before = table::count(&mut connection)?;
    let selection = Selection::new(filter, &mut connection, host, &TimeoutOptions::default(), false)?;
    let watch = Watch::new(&mut console, interrupt, host, before.entries.into());
    let options = Options {
        command,
        preview: false,
        task,
        sessions: OwnSessions::default(),
        max: None,
        ask_above: None,
        stop_above: None,
    };
    let written = options.task.written_timeout().map(|seconds| WrittenTimeout::new(connection.netns(), host, seconds));
    let begin = |_: &mut Console| {
        if let Some(Err(error)) = written.as_ref().map(WrittenTimeout::begin) {
            message::note(&format!("WARNING: cannot note the written timeout in {}: {error}", timeout_notes::FOLDER));
        }
    };
    match Purge::new(selection, options, watch, before).observed_by(each).run(&mut connection, begin)? {
        Purged::Ran(summary) => Ok(*summary),
        Purged::Declined | Purged::Interrupted | Purged::Stopped { .. } => {
            Err(anyhow!("{command}: nothing was changed"))
        }
    }
}

/// Prints how many entries were gone, or have changed meanwhile.
///
/// # Errors
/// What was selected was not `done` for another reason.
fn check(summary: &Summary, done: &str) -> Result<()> {
    for (count, why) in [
        (summary.gone, "were gone before"),
        (summary.no_longer_matching, "no longer matched when they were read again"),
    ] {
        if count > 0 {
            message::note(&format!("{count} entries that were selected {why}"));
        }
    }
    if !summary.is_partial() {
        return Ok(());
    }
    let kernel = summary.failed.iter().map(|(errno, count)| format!("{count} {errno}"));
    let skipped = summary.skipped.iter().map(|(reason, count)| format!("{count} {reason}"));
    let unanswered = [(summary.unsent, "not sent"), (summary.unanswered, "not answered")];
    let other = unanswered.into_iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}"));
    let mut reasons: Vec<String> = kernel.chain(skipped).chain(other).chain(summary.error.clone()).collect();
    if summary.interrupted {
        reasons.push("interrupted before the end of the table".to_owned());
    }
    if summary.resized {
        reasons.push("the hash table was resized during the dump, so entries may be missing: run it again".to_owned());
    }
    let count = summary.updated.unwrap_or(summary.deleted);
    // Callers take "0 flow entries have been deleted" for success.
    Err(anyhow!("not all that was selected was {done}, only {count}: {}", reasons.join(", ")))
}
