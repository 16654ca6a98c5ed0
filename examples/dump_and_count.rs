//! Dumps the table and counts the entries that match a filter.
//!
//!     cargo run --example dump_and_count -- tcp and dport 443

#![allow(clippy::print_stdout, reason = "an example")]

use std::env;
use std::error::Error;
use std::ops::ControlFlow;

use ctnl::age::IdleEstimator;
use ctnl::clock::Clock;
use ctnl::field::Subject;
use ctnl::filter::Filter;
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, DumpRequest};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let filter: Filter = words.join(" ").parse()?;
    // Idle times are not asked for here: see `flush_idle` for those.
    let estimator = IdleEstimator::without_timeouts(Clock::system().now().realtime.0);
    let mut connection = Connection::open(&Netns::Current)?;
    let mut matched = 0;
    let totals = table::dump(&mut connection, DumpRequest::default(), |flow| {
        matched += u64::from(filter.matches(&Subject::new(flow, &estimator)).is_match());
        ControlFlow::Continue(())
    })?;
    println!("{matched} of {} entries", totals.entries);
    Ok(())
}
