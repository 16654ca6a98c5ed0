//! `--confirm-idle`: the first of two samples, and the wait before the second.

use std::ops::ControlFlow;
use std::time::Duration;

use ctnl::age::IdleConfirmation;
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{DatagramTime, DumpRequest, DumpTotals};

use super::selection::{FirstSample, Selection};
use super::walk::{End, Visitor, walk};
use super::watch::Watch;

struct Sampling<'s, 'w> {
    sample: FirstSample<'s>,
    watch: &'s mut Watch<'w>,
}

impl Visitor for Sampling<'_, '_> {
    fn entry(&mut self, flow: &Flow, time: &DatagramTime) {
        self.sample.add(flow, time);
    }

    fn end_datagram(&mut self, totals: DumpTotals) -> ControlFlow<()> {
        if self.watch.go_on("first sample", totals.entries) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// Takes the first sample and waits `seconds`, and so much longer that an idle time of `seconds` can be
/// confirmed. Then the settings are read again. False when a signal ended it.
pub fn sample_and_wait(
    connection: &mut Connection,
    selection: &mut Selection,
    watch: &mut Watch<'_>,
    seconds: u64,
) -> Result<bool, Error> {
    let clock = watch.clock.clone();
    let mut sampling = Sampling { sample: selection.first_sample(), watch };
    let walked = walk(connection, DumpRequest::default(), &clock, &mut sampling)?;
    let confirm = sampling.sample.confirm;
    if walked.end == End::Stopped {
        return Ok(false);
    }
    selection.confirm_by(confirm);
    let wait = Duration::from_secs(seconds + u64::from(IdleConfirmation::UNCERTAINTY));
    let console = &mut *watch.console;
    let is_over = watch.interrupt.sleep(wait, |left| {
        console.progress(|| format!("second sample in {} s", left.as_secs() + 1));
    });
    selection.refresh_settings(watch.clock.now().monotonic)?;
    Ok(is_over)
}
