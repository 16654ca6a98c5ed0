//! Deletes entries while they are dumped, as the program does.

use ctnl::clock::Clock;
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{Action, Deleter, Dump, DumpRequest, DumpTotals, Outcome, Target};

/// The results, also after an error.
#[derive(Debug)]
pub struct Deleted {
    pub dump: DumpTotals,
    pub outcome: Outcome,
    pub error: Option<Error>,
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
    let mut deleter = Deleter::start(actor, action).expect("a thread");
    let mut dump = Dump::start(dumper, request, &Clock::system()).expect("a dump");
    let walked = loop {
        let more = dump.next_datagram(|flow, _| choose(flow).into_iter().for_each(|target| deleter.push(target)));
        let step = deleter.end_datagram();
        match more {
            Ok(true) if step.is_continue() && should_continue(deleter.pushed()) => {}
            more => break more,
        }
    };
    let (outcome, deleted) = deleter.finish();
    Deleted { dump: dump.totals(), outcome, error: deleted.err().or(walked.err()) }
}
