//! Deletes entries while they are dumped, as the program does.

use ctnl::clock::{Clock, Time};
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{Action, DatagramTime, Deleter, Dump, DumpRequest, DumpTotals, Judgement, Outcome, Recheck, Target};
use ctnl::units::Nanos;

/// The results, also after an error.
#[derive(Debug)]
pub struct Deleted {
    pub dump: DumpTotals,
    pub outcome: Outcome,
    pub error: Option<Error>,
}

/// Settings that never change, and no second judgement.
#[derive(Debug)]
struct Final;

impl Recheck for Final {
    fn settings(&mut self, _: Nanos) -> Result<u64, Error> {
        Ok(0)
    }

    fn is_still_chosen(&mut self, _: &Flow, _: &DatagramTime) -> bool {
        true
    }
}

/// Walks the table over `dumper` and deletes over `actor` the target that `choose` returns for an
/// entry. `should_continue` is called after each datagram with the number of targets so far.
pub fn delete_while_dumping(
    dumper: &mut Connection,
    actor: Connection,
    request: DumpRequest,
    action: Action,
    mut choose: impl FnMut(&Flow) -> Option<Target>,
    mut should_continue: impl FnMut(u64) -> bool,
) -> Deleted {
    // No time passes, so that nothing is fetched again, however slow the test.
    let clock = Clock::from_fn(Time::default);
    let mut deleter = Deleter::start(actor, action, &clock, Final).expect("a thread");
    let mut dump = Dump::start(dumper, request, &clock).expect("a dump");
    let walked = loop {
        let more = dump.next_datagram(|flow, time| {
            let judgement = Judgement { sampled: time.sampled, settings: 0 };
            choose(flow).into_iter().for_each(|target| deleter.push(target, judgement));
        });
        let step = deleter.end_datagram();
        match more {
            Ok(true) if step.is_continue() && should_continue(deleter.pushed()) => {}
            more => break more,
        }
    };
    let (deletions, deleted) = deleter.finish();
    Deleted { dump: dump.totals(), outcome: deletions.outcome, error: deleted.err().or(walked.err()) }
}
