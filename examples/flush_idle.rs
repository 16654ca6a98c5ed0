//! Deletes the entries that have certainly been idle for a time: what `ctnl flush --older` is
//! made of. It deletes what it finds; try it in a namespace of its own:
//!
//!     cargo run -- lab --entries 1000 -- cargo run --example flush_idle -- 1h

#![allow(clippy::print_stdout, reason = "an example")]

use std::env;
use std::error::Error;
use std::ops::ControlFlow;

use ctnl::age::{IdleEstimator, TimeoutContext};
use ctnl::field::Subject;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, DumpRequest, Outcome, Target};

/// Entries that are deleted at a time. They are deleted as soon as they are found: what was true of
/// an entry a second ago need not be true of it now.
const BATCH: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let older = env::args().nth(1).ok_or("usage: flush_idle DURATION")?;
    let filter: Filter = format!("idle >= {older}").parse()?;
    let host = Host::system();
    let mut dumper = Connection::open(&Netns::Current)?;
    let mut deleter = dumper.reopen()?;
    let context = TimeoutContext::read(&mut dumper, &host.netfilter(), &host.kernel(), Vec::new())?;
    let estimator = IdleEstimator::new(&context, host.clock.now().realtime.0);

    let (mut targets, mut outcome, mut failed) = (Vec::new(), Outcome::default(), None);
    table::dump(&mut dumper, DumpRequest::default(), |flow| {
        // An entry whose idle time is uncertain is no match, nor is one that a delete cannot identify.
        if filter.matches(&Subject::new(flow, &estimator)).is_match()
            && let Ok(target) = Target::of(flow)
        {
            targets.push(target);
        }
        if targets.len() == BATCH {
            failed = table::delete(&mut deleter, &targets, &mut outcome).err();
            targets.clear();
        }
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    table::delete(&mut deleter, &targets, &mut outcome)?;
    println!("{} deleted, {} already gone", outcome.done, outcome.gone);
    Ok(())
}
