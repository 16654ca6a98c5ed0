//! What list and count, which read the table, have in common: the end of their arguments, the start of a walk
//! and its exit code.

use anyhow::Result;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::netlink::Connection;
use ctnl::table::{self, DumpTotals, Occupancy};

use super::args::{CommonArgs, FilterArgs, ScanArgs};
use super::report;
use crate::host::timeout_options::TimeoutOptions;
use crate::scan::{Selection, Watch, sample_and_wait};
use crate::term::exit::Exit;
use crate::term::interrupt::Interrupt;

/// Which entries are read, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct ReadArgs {
    #[command(flatten)]
    pub filter: FilterArgs,

    /// Exit with 1 when nothing matched
    #[arg(long)]
    pub fail_if_none: bool,

    #[command(flatten)]
    pub scan: ScanArgs,

    #[command(flatten)]
    pub common: CommonArgs,
}

/// The filter, and the options that idle times depend on.
#[derive(Debug)]
pub struct Criteria {
    pub filter: Filter,
    pub timeouts: TimeoutOptions,
}

/// What a walk is made with.
#[derive(Debug)]
pub struct Reading<'w> {
    pub connection: Connection,
    /// After the first sample of `--confirm-idle`.
    pub selection: Selection,
    pub watch: Watch<'w>,
    /// The occupancy of the table before the walk; the default where the kernel does not send it.
    pub occupancy: Occupancy,
}

/// How a walk ended.
#[derive(Debug, Clone, Copy)]
pub struct Walked {
    pub totals: DumpTotals,
    pub is_interrupted: bool,
    pub is_resized: bool,
}

impl ReadArgs {
    /// The filter of the arguments. An error in it is found before anything is sent.
    pub fn criteria(&self, host: &Host) -> Result<Criteria> {
        Ok(Criteria { filter: self.filter.filter(host)?, timeouts: self.filter.timeout_options()? })
    }

    /// Prepares a walk, with the first sample of `--confirm-idle` and the wait, and calls `walk`, unless a signal
    /// ended that.
    pub fn read(
        &self,
        criteria: Criteria,
        with_ages: bool,
        host: &Host,
        walk: impl FnOnce(Reading<'_>) -> Result<Exit>,
    ) -> Result<Exit> {
        let Criteria { filter, timeouts } = criteria;
        let interrupt = Interrupt::listen()?;
        let mut console = self.common.console();
        let mut connection = self.common.connect()?;
        let occupancy = table::count(&mut connection).unwrap_or_default();
        let mut watch = Watch::new(&mut console, &interrupt, host, occupancy.entries.into());
        let mut selection = Selection::new(filter, &mut connection, host, &timeouts, with_ages)?;
        if let Some(seconds) = self.filter.confirm_idle
            && !sample_and_wait(&mut connection, &mut selection, &mut watch, seconds)?
        {
            return Ok(Exit::Partly);
        }
        walk(Reading { connection, selection, watch, occupancy })
    }

    /// The exit code after a walk that found `entries`. Reports an interruption, and why a table may be empty.
    pub fn exit(&self, watch: &mut Watch<'_>, walked: Walked, entries: u64) -> Exit {
        if watch.expected == 0 && walked.totals.entries == 0 {
            report::note_empty(watch.console);
        }
        if walked.is_interrupted {
            watch.console.warn("interrupted before the end of the table");
        }
        match (walked.is_interrupted || walked.is_resized, entries) {
            (true, _) => Exit::Partly,
            (_, 0) if self.fail_if_none => Exit::Failed,
            _ => Exit::Done,
        }
    }
}
