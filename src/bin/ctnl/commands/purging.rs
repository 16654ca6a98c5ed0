//! What flush and update have in common: which filters are refused, the own session, the note of a timeout that is
//! written, the purge and its report.

use std::fs;

use anyhow::Result;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, Occupancy};

use super::args::{CommonArgs, FilterArgs};
use crate::host::ssh::{self, OwnSessions};
use crate::host::timeout_notes::{self, WrittenTimeout};
use crate::purge::{Options, Purge, Purged, Task, UndoFile, report};
use crate::save_file::{STANDARD, SaveFile, head, refuse};
use crate::scan::{Selection, Watch, sample_and_wait};
use crate::term::console::{Console, percent};
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;

/// Without a terminal, what requires no idle time stops before it deletes more than this part of a table, or shortens
/// the lives of its entries, in percent.
const STOP_ABOVE: u8 = 90;

/// The arguments of a command that deletes or changes entries by a filter.
pub struct Request<'a> {
    /// The command, as the summary names it.
    pub command: &'static str,
    /// What it does.
    pub task: Task,
    /// Which entries.
    pub filter: &'a FilterArgs,
    /// A filter that matches everything is allowed.
    pub all: bool,
    /// Preview.
    pub dry_run: bool,
    /// Most entries.
    pub max: Option<u64>,
    /// The file with a copy of each entry.
    pub save: Option<&'a str>,
    /// The own SSH session is not spared.
    pub no_spare_ssh: bool,
    /// There is no question, and it does not stop.
    pub yes: bool,
    /// Ask above this share of the table, in percent.
    pub ask_above: u8,
    /// Summary as JSON.
    pub json: bool,
    /// No match is a failure.
    pub fail_if_none: bool,
    /// Namespace and verbosity.
    pub common: &'a CommonArgs,
}

/// Runs the command.
pub fn run(request: &Request<'_>, host: &Host) -> Result<Exit> {
    // It may be read from a pipe, which a signal ends.
    let filter = request.filter.filter(host)?;
    let interrupt = Interrupt::listen()?;
    run_in(request, filter, &request.common.netns()?, host, &interrupt)
}

/// Runs the command in `netns`, until `interrupt` requests its end.
pub fn run_in(
    request: &Request<'_>,
    filter: Filter,
    netns: &Netns,
    host: &Host,
    interrupt: &Interrupt,
) -> Result<Exit> {
    let mut console = request.common.console();
    let nothing_done = format!("nothing was {}", request.task.done());
    match purge(request, filter, netns, host, interrupt, &mut console)? {
        Purged::Ran(summary) => report(&summary, &mut console, request.json, request.fail_if_none),
        Purged::Declined => {
            console.warn(&nothing_done);
            Ok(Exit::Failed)
        }
        Purged::Interrupted => {
            console.warn(&format!("interrupted; {nothing_done}"));
            Ok(Exit::Partly)
        }
        Purged::Stopped { chosen, seen } => Err(usage(format!(
            "this filter matches {chosen} of {seen} entries ({}) and requires no idle time, and there is no terminal \
             to ask on: {nothing_done}\n  hint: allow it with --yes; check it with --dry-run, bound it with --max \
             N or --older",
            percent(chosen, seen)
        ))),
    }
}

/// Deletes or changes what `filter` matches in `netns`, or counts it.
pub fn purge(
    request: &Request<'_>,
    filter: Filter,
    netns: &Netns,
    host: &Host,
    interrupt: &Interrupt,
    console: &mut Console,
) -> Result<Purged> {
    let timeouts = request.filter.timeout_options()?;
    request.refuse_everything(&filter)?;
    request.save.iter().try_for_each(|name| refuse(name, false))?;
    if filter.never_matches() {
        console.warn("this filter can match nothing");
    }

    let mut connection = Connection::open(netns)?;
    let before = table::count(&mut connection)?;
    let mut selection = Selection::new(filter, &mut connection, host, &timeouts, false)?;
    let mut watch = Watch::new(console, interrupt, host, before.entries.into());
    if let Some(seconds) = request.filter.confirm_idle
        && !sample_and_wait(&mut connection, &mut selection, &mut watch, seconds)?
    {
        return Ok(Purged::Interrupted);
    }
    let own = request.own_sessions(host, watch.console)?;
    let undo = request.undo_file(&selection, before, host)?;
    let options = request.options(selection.filter(), own);
    let timeout = options.task.written_timeout().filter(|_| !request.dry_run);
    let written = timeout.map(|seconds| WrittenTimeout::new(connection.netns(), host, seconds));
    let mut purge = Purge::new(selection, options, watch, before).saving_to(undo);
    if !request.no_spare_ssh {
        purge = purge.looking_up_sessions(|| ssh::own_sessions(host));
    }
    let purged = purge.run(&mut connection, |console| begin_note(written.as_ref(), console))?;
    drop(written);
    Ok(purged)
}

/// Notes that the timeout is going to be written, or reports why that cannot be noted.
pub fn begin_note(written: Option<&WrittenTimeout>, console: &mut Console) {
    if let Some(Err(error)) = written.map(WrittenTimeout::begin) {
        console.warn(&format!(
            "cannot note the written timeout in {}: {error}\n  hint: until these entries have expired or had a \
             packet, idle times do not take it into account",
            timeout_notes::FOLDER
        ));
    }
}

impl Request<'_> {
    fn refuse_everything(&self, filter: &Filter) -> Result<()> {
        if self.all {
            return Ok(());
        }
        let verb = if self.task.is_update() { "change" } else { "delete" };
        if filter.negates_empty_file() {
            return Err(usage(format!(
                "the filter excludes what is in '{}', which contains no values: nothing is excluded\n  hint: leave that \
                 term out, or {verb} nevertheless with --all",
                filter.empty_files().join("', '")
            )));
        }
        if !filter.matches_everything() {
            return Ok(());
        }
        let what = if filter.is_empty() { "no filter is given" } else { "this filter matches every entry" };
        Err(usage(format!(
            "{what}, which would {verb} the whole table\n  hint: select entries, e.g. --state established --older \
             12h; or {verb} all with --all"
        )))
    }

    /// The file of --save. It is removed where the purge does not run.
    fn undo_file(&self, selection: &Selection, before: Occupancy, host: &Host) -> Result<Option<UndoFile>> {
        let Some(name) = self.save.filter(|_| !self.dry_run) else { return Ok(None) };
        if name == STANDARD {
            return Err(usage("--save -: expected a file, which is whole when a delete is sent; a pipe is not"));
        }
        if fs::metadata(name).is_ok_and(|found| !found.is_file()) {
            return Err(usage(format!(
                "--save: '{name}' is no regular file, which alone undoes a delete: expected a new one"
            )));
        }
        let file = SaveFile::create(name, false)?;
        let head = head(host, before, selection.filter().to_string());
        Ok(Some(UndoFile::new(name, file, &head)))
    }

    /// The sessions that are spared; what is certain of them is printed.
    fn own_sessions(&self, host: &Host, console: &mut Console) -> Result<OwnSessions> {
        let own = if self.no_spare_ssh { OwnSessions::default() } else { ssh::own_sessions(host)? };
        if let Some(warning) = own.warning() {
            console.warn(&warning);
        }
        if let Some(note) = own.note() {
            console.note(&note);
        } else if own.sessions.is_empty() && !self.no_spare_ssh && console.can_ask() {
            console.note("found no SSH session of yours, so none is spared");
        }
        Ok(own)
    }

    /// Whether a script has to allow what would empty most of the table. A table of which most is stale is
    /// the emergency that a flush by idle time is for.
    fn stops_where_nobody_is_asked(&self, filter: &Filter) -> bool {
        let requires_idle = filter.bounds_idle_from_below() || self.filter.confirm_idle.is_some();
        !self.yes && !self.all && !requires_idle && self.task.may_shorten_lives()
    }

    fn options(&self, filter: &Filter, sessions: OwnSessions) -> Options {
        let asks = !self.yes && self.task.may_shorten_lives();
        Options {
            command: self.command,
            preview: self.dry_run,
            task: self.task,
            sessions,
            max: self.max,
            ask_above: asks.then_some(self.ask_above),
            stop_above: self.stops_where_nobody_is_asked(filter).then_some(STOP_ABOVE),
        }
    }
}
