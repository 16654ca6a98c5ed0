//! Creates the entries of a population, batch by batch.

use anyhow::{Context, Result, bail};
use ctnl::model::Flow;
use ctnl::netlink::Connection;
use ctnl::table::{self, BATCH, Outcome};
use nix::errno::Errno;

use super::population::Population;
use crate::term::console::Console;

/// Creates every entry of `population`. The outcome counts the entries that failed.
///
/// # Errors
/// Every entry failed, or the kernel has no ctnetlink.
pub fn fill(connection: &mut Connection, population: &Population, console: &mut Console) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut flows = population.flows();
    let mut batch: Vec<Flow> = Vec::with_capacity(BATCH);
    loop {
        batch.clear();
        batch.extend(flows.by_ref().take(BATCH));
        if batch.is_empty() {
            break;
        }
        table::create(connection, &batch, &mut outcome).context(CTNETLINK)?;
        console.progress(|| format!("ctnl lab: {} of {} entries", outcome.done, population.count));
    }
    match outcome.failed.first_key_value() {
        Some((errno, _)) if outcome.done == 0 => bail!("no entry could be created: {}", name(*errno)),
        _ => Ok(outcome),
    }
}

const CTNETLINK: &str = "cannot create entries (if ctnetlink is missing, run 'modprobe nf_conntrack_netlink' as root)";

/// `3 with EEXIST, 2 with ENOMEM`.
pub fn failures(outcome: &Outcome) -> String {
    let parts: Vec<String> =
        outcome.failed.iter().map(|(errno, count)| format!("{count} with {}", name(*errno))).collect();
    parts.join(", ")
}

fn name(errno: i32) -> String {
    let errno = Errno::from_raw(errno);
    format!("{errno:?} ({})", errno.desc())
}
