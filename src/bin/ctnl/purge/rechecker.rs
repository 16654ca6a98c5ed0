//! Judges entries again on the deleting thread.

use ctnl::model::Flow;
use ctnl::netlink::Error;
use ctnl::table::{DatagramTime, Recheck};
use ctnl::units::Nanos;

use super::options::Options;
use crate::scan::Selection;

/// The same decision as that of the chooser, without its counts and bounds.
#[derive(Debug)]
pub struct Rechecker {
    selection: Selection,
    options: Options,
}

impl Rechecker {
    /// One that chooses what `selection` matches, within `options`.
    pub fn new(selection: Selection, options: Options) -> Self {
        Rechecker { selection, options }
    }
}

impl Recheck for Rechecker {
    fn settings(&mut self, after: Nanos) -> Result<u64, Error> {
        self.selection.refresh_settings(after)
    }

    fn is_still_chosen(&mut self, flow: &Flow, time: &DatagramTime) -> bool {
        let options = &self.options;
        self.selection.judge(flow, time).is_some()
            && !options.spares(flow)
            && !options.task.is_done(flow)
            && options.task.target(flow).is_ok()
    }
}
