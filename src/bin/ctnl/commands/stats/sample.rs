//! The figures of one namespace, or of all.

use anyhow::Result;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{self, CpuStats, Occupancy};

use crate::commands::all_netns::{AllNetns, SampledNetns};
use crate::term::console::Console;

/// The figures of a namespace at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The namespace, where several are shown.
    pub netns: Option<SampledNetns>,
    /// Entries and maximum.
    pub occupancy: Occupancy,
    /// Counters by processor.
    pub cpus: Vec<CpuStats>,
}

/// Reads samples.
#[derive(Debug)]
pub enum Sampler {
    /// Of one namespace.
    One(Box<Connection>),
    /// Of all namespaces that exist at the time.
    All(AllNetns),
}

impl Sampler {
    /// Of the namespace of `connection`.
    pub fn one(connection: Connection) -> Self {
        Sampler::One(Box::new(connection))
    }

    /// Of all namespaces of `host`.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn all(host: &Host) -> Result<Self> {
        AllNetns::new(host).map(Sampler::All)
    }

    /// The samples, by name, and whether none is missing. Why one is missing is reported on the console.
    ///
    /// # Errors
    /// The figures of the one namespace cannot be read, or no namespace is found.
    pub fn read(&mut self, console: &mut Console) -> Result<(Vec<Sample>, bool)> {
        match self {
            Sampler::One(connection) => Ok((vec![sample(connection, None)?], true)),
            Sampler::All(all) => all.read(console, "read the statistics", |mut connection, netns, _| {
                Ok(Some(sample(&mut connection, Some(netns.clone()))?))
            }),
        }
    }
}

fn sample(connection: &mut Connection, netns: Option<SampledNetns>) -> Result<Sample, Error> {
    Ok(Sample { netns, occupancy: table::count(connection)?, cpus: table::stats(connection)? })
}
