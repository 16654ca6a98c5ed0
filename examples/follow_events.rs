//! Follows new and destroyed entries until it is stopped, and reports how many events the kernel
//! dropped.
//!
//!     cargo run --example follow_events

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use ctnl::model::Event;
use ctnl::netlink::Netns;
use ctnl::table::{Events, Step, Subscription};

fn main() -> Result<(), Box<dyn Error>> {
    let subscription = Subscription { update: false, ..Subscription::default() };
    let mut events = Events::subscribe(&Netns::Current, &subscription)?;
    let mut event = Event::blank();
    loop {
        match events.next(&mut event)? {
            Step::Event => println!("{:?} {:?}", event.kind, event.flow.orig),
            // Waking up for each event is half of what an event costs: the queue fills meanwhile.
            Step::Empty => thread::sleep(Duration::from_millis(1)),
            step => eprintln!("{step:?}"),
        }
    }
}
