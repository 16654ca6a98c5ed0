//! Walk the table for a command: judge each entry, show progress, end at a
//! signal.

use std::ops::ControlFlow;

use ctnl::age::Confirm;
use ctnl::field::Subject;
use ctnl::netlink::{Connection, Error};
use ctnl::sysctl::Sysctl;
use ctnl::table::{Dump, DumpRequest, DumpTotals, KernelFilter};

use super::selection::Selection;
use crate::host::buckets::Buckets;
use crate::term::console::{Console, percent};
use crate::term::interrupt::Interrupt;

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// What was seen.
    pub totals: DumpTotals,
    /// Whether a signal ended it before the end of the table.
    pub interrupted: bool,
}

/// What a walk reports to.
#[derive(Debug)]
pub struct Watch<'a> {
    /// Progress goes there.
    pub console: &'a mut Console,
    /// Ends the walk.
    pub interrupt: &'a Interrupt,
    /// Entries of the table, for progress; 0 where it is not known.
    pub expected: u64,
    netfilter: Sysctl,
    buckets: Buckets,
}

impl<'a> Watch<'a> {
    /// A watch over a table of about `expected` entries, from now on.
    pub fn new(console: &'a mut Console, interrupt: &'a Interrupt, expected: u64) -> Self {
        let netfilter = Sysctl::default();
        let buckets = Buckets::read(&netfilter);
        Watch { console, interrupt, expected, netfilter, buckets }
    }

    /// Whether the hash table was resized meanwhile. What was read is not whole then, which is said.
    pub fn tell_if_resized(&mut self) -> bool {
        let resized = self.buckets.resized_since(&self.netfilter);
        if resized {
            self.console.warn(
                "the kernel's hash table was resized while it was read (nf_conntrack_buckets): entries may be missing; \
                 run it again",
            );
        }
        resized
    }

    /// To be called after each datagram; false when it shall end.
    pub fn go_on(&mut self, what: &str, seen: u64) -> bool {
        let expected = self.expected.max(seen);
        self.console.progress(|| format!("{what}: {seen} entries, {}", percent(seen, expected)));
        !self.interrupt.requested()
    }
}

/// Hands every entry that `selection` means to `each`, until that breaks. Where
/// the kernel cannot filter as `request` asks, it is asked for everything.
pub fn walk(
    connection: &mut Connection,
    request: DumpRequest,
    selection: &mut Selection,
    watch: &mut Watch<'_>,
    mut each: impl FnMut(&Subject<'_>) -> ControlFlow<()>,
) -> Result<Walked, Error> {
    match walk_once(connection, request, selection, watch, &mut each) {
        Err(error) if request != DumpRequest::default() && KernelFilter::is_unknown_to(&error) => {
            watch.console.note("this kernel cannot filter so: it is asked for the whole table");
            walk_once(connection, DumpRequest::default(), selection, watch, &mut each)
        }
        walked => walked,
    }
}

/// The kernel refuses a filter before the first entry, so nothing comes twice.
fn walk_once(
    connection: &mut Connection,
    request: DumpRequest,
    selection: &mut Selection,
    watch: &mut Watch<'_>,
    each: &mut dyn FnMut(&Subject<'_>) -> ControlFlow<()>,
) -> Result<Walked, Error> {
    selection.before_walk();
    let mut dump = Dump::start(connection, request)?;
    let mut step = ControlFlow::Continue(());
    loop {
        selection.before_datagram();
        let more = dump.next_datagram(|flow| {
            if step.is_continue()
                && let Some(subject) = selection.judge(flow)
            {
                step = each(&subject);
            }
        })?;
        let totals = dump.totals();
        if !more || step.is_break() {
            return Ok(Walked { totals, interrupted: false });
        }
        if !watch.go_on("reading", totals.entries) {
            return Ok(Walked { totals, interrupted: true });
        }
    }
}

/// Takes the first of two looks and waits `seconds`, and a little more so that as
/// much is certain; false when a signal came.
pub fn look_and_wait(
    connection: &mut Connection,
    selection: &mut Selection,
    watch: &mut Watch<'_>,
    seconds: u64,
) -> Result<bool, Error> {
    selection.look_once(connection, |seen| watch.go_on("first look", seen))?;
    let wait = std::time::Duration::from_secs(seconds + u64::from(Confirm::UNCERTAINTY));
    let console = &mut *watch.console;
    Ok(watch.interrupt.sleep(wait, |left| {
        console.progress(|| format!("second look in {} s", left.as_secs() + 1));
    }))
}
