//! `-L`, `-G`, `-C`, `-S`: what reads entries and counters.

use anyhow::{Result, anyhow};
use ctnl::age::IdleEstimator;
use ctnl::field::{FieldId, Subject};
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, CpuStats, DumpRequest, DumpSource};

use super::output::Lines;
use super::{criteria, entry, message};
use crate::conntrack_syntax::{Command, Request, Table};
use crate::host::timeout_options::TimeoutOptions;
use crate::scan::{Selection, Watch, walk_matches};
use crate::term::console::Console;
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;
use crate::term::stdout::print;

/// `-L`, of all tables but that of expectations.
pub fn list(request: &Request, host: &Host) -> Result<Exit> {
    let filter = criteria::filter(request, host)?;
    let source = source(request, &filter)?;
    let mut lines = Lines::document(request, host)?;
    let mut connection = Connection::open(&Netns::Current)?;
    let timeouts = TimeoutOptions::default();
    let mut selection = Selection::new(filter, &mut connection, host, &timeouts, false)?;
    let (mut console, interrupt) = (Console::new(true, false), Interrupt::default());
    let mut watch = Watch::new(&mut console, &interrupt, host, 0);
    let dump = DumpRequest { source, family: request.family, ..DumpRequest::default() };
    let walked = walk_matches(&mut connection, dump, &mut selection, &mut watch, |subject| lines.add(subject));
    // Also when the walk failed.
    let count = lines.finish()?;
    walked?;
    let is_resized = watch.warn_if_resized();
    message::line(&format!("{count} flow entries have been shown."));
    Ok(if is_resized { Exit::Failed } else { Exit::Done })
}

/// What is dumped. The counters of every entry that is dumped are reset, shown or not, so there may be no filter but
/// the family: the kernel leaves out the entries of another one before.
fn source(request: &Request, filter: &Filter) -> Result<DumpSource> {
    let is_family_alone = filter.fields().iter().all(|field| field.id == FieldId::Family);
    Ok(match (request.command, request.zero) {
        (Command::List(Table::Dying), _) => DumpSource::Dying,
        (Command::List(Table::Unconfirmed), _) => DumpSource::Unconfirmed,
        (_, false) => DumpSource::Table,
        (_, true) if is_family_alone => DumpSource::TableResettingCounters,
        (_, true) => return Err(usage("-z resets the counters of every entry: it cannot have a filter")),
    })
}

/// `-G`.
pub fn get(request: &Request, host: &Host) -> Result<Exit> {
    let filter = criteria::filter(request, host)?;
    let tuple = entry::tuple(request).ok_or_else(|| usage("-G needs the addresses of one direction"))?;
    let mut lines = Lines::document(request, host)?;
    let mut connection = Connection::open(&Netns::Current)?;
    let Some(flow) = table::get(&mut connection, &tuple, 0)? else {
        return Err(anyhow!("{}", message::explain(nix::errno::Errno::ENOENT as i32, request.command)));
    };
    let ages = IdleEstimator::without_timeouts(host.clock.now().realtime.0);
    let subject = Subject::new(&flow, &ages);
    if filter.matches(&subject).is_match() {
        let _ = lines.add(&subject);
    }
    Ok(message::counted(lines.finish()?, "flow entries have been shown"))
}

/// `-C`.
pub fn count() -> Result<Exit> {
    let occupancy = table::count(&mut Connection::open(&Netns::Current)?)?;
    print(format!("{}\n", occupancy.entries))?;
    Ok(Exit::Done)
}

/// `-S`.
pub fn stats() -> Result<Exit> {
    let cpus = table::stats(&mut Connection::open(&Netns::Current)?)?;
    print(cpus.iter().map(stats_line).collect::<String>())?;
    Ok(Exit::Done)
}

fn stats_line(stats: &CpuStats) -> String {
    let counters: String = stats.counters.named().map(|(name, value)| format!("{name}={value} ")).collect();
    format!("cpu={:<4}\t{counters}\n", stats.cpu)
}
