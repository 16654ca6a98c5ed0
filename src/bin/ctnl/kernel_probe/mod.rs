//! `ctnl doctor --kernel`: what this kernel does, probed in a network namespace that is made for it.
//!
//! Kernels differ in what they ignore, and their numbers say little, since stable updates move features
//! both ways. So each fact is probed with made-up entries. Some probes send flushes that delete more than
//! they name, which nothing else in ctnl can: `private_netns` is the only source of connections here, and
//! `made_up_table` the only sender.
//!
//! - `private_netns`: the namespace, verified to be new, empty and another one than the caller's
//! - `made_up_table`: the entries; compares the whole table with them before each request
//! - `fact`: one fact, with its value; `row`: how it is probed, and what each value means
//! - `filters`, `flushes`, `features`, `settings`: the rows; `probes`: what they read; `requests`: what they send
//! - `report`: text and JSON

mod fact;
mod features;
mod filters;
mod flushes;
mod made;
mod made_up_table;
mod private_netns;
mod probes;
mod report;
mod requests;
mod row;
mod settings;

use anyhow::Result;
use ctnl::host::Host;

pub use report::Report;
use row::Row;

/// Every group of facts, in the order of the report.
const GROUPS: &[(&str, &[Row])] = &[
    ("Filters that a dump honours", filters::ROWS),
    ("Flushes over netlink (ctnl sends none)", flushes::ROWS),
    ("What an entry can have", features::ROWS),
    ("Settings and counters", settings::ROWS),
];

/// Probes every fact. The process is in another network namespace afterwards, and must have a single
/// thread.
///
/// # Errors
/// No private namespace can be made, or its table is not what was put into it.
pub fn run(host: &Host) -> Result<Report> {
    let mut probes = probes::Probes::begin(host)?;
    let mut report = Report::new(host, probes.netns.inode());
    for (title, rows) in GROUPS {
        report.push(title, rows.iter().map(|row| row.probe(&mut probes)).collect::<Result<_>>()?);
    }
    Ok(report)
}
