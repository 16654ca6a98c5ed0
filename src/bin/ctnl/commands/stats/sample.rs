//! The figures of one namespace, or of all.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use ctnl::host::Host;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{self, CpuStats, Occupancy};

use crate::host::namespaces::{Namespace, Namespaces};
use crate::term::console::Console;

/// The figures of a namespace at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The name and the inode number of the namespace, where several are shown.
    pub netns: Option<(String, u64)>,
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
    All(AllNamespaces),
}

/// The namespaces of a host.
#[derive(Debug)]
pub struct AllNamespaces {
    host: Host,
    /// Warnings that were printed: each is printed once.
    warned: BTreeSet<String>,
}

impl Sampler {
    /// Of the namespace of `connection`.
    pub fn one(connection: Connection) -> Self {
        Sampler::One(Box::new(connection))
    }

    /// Of all namespaces of `host`.
    pub fn all(host: &Host) -> Self {
        Sampler::All(AllNamespaces { host: host.clone(), warned: BTreeSet::new() })
    }

    /// The samples, by name, and whether none is missing. Why one is missing is reported on the console.
    ///
    /// # Errors
    /// The figures of the one namespace cannot be read, or no namespace is found.
    pub fn read(&mut self, console: &mut Console) -> Result<(Vec<Sample>, bool)> {
        match self {
            Sampler::One(connection) => Ok((vec![sample(connection, None)?], true)),
            Sampler::All(all) => all.read(console),
        }
    }
}

fn sample(connection: &mut Connection, netns: Option<(String, u64)>) -> Result<Sample, Error> {
    Ok(Sample { netns, occupancy: table::count(connection)?, cpus: table::stats(connection)? })
}

impl AllNamespaces {
    fn read(&mut self, console: &mut Console) -> Result<(Vec<Sample>, bool)> {
        let mut namespaces = Namespaces::new(self.host.proc());
        let found = namespaces.refresh().context("find the network namespaces")?.appeared;
        let unreadable = namespaces.unreadable();
        if unreadable > 0 {
            self.warn(console, format!("cannot read the namespaces of {unreadable} processes (needs CAP_SYS_PTRACE)"));
        }
        let (mut samples, mut is_complete) = (Vec::new(), unreadable == 0);
        for namespace in &found {
            match read(namespace) {
                Ok(sample) => samples.push(sample),
                Err(error) => {
                    is_complete = false;
                    self.warn(console, format!("cannot read the statistics of {}: {error:#}", namespace.name));
                }
            }
        }
        samples.sort_by(|one, other| one.netns.cmp(&other.netns));
        Ok((samples, is_complete))
    }

    fn warn(&mut self, console: &mut Console, text: String) {
        if !self.warned.contains(&text) {
            console.warn(&text);
            self.warned.insert(text);
        }
    }
}

fn read(namespace: &Namespace) -> Result<Sample> {
    let mut connection = Connection::open(&namespace.open()?)?;
    Ok(sample(&mut connection, Some((namespace.name.to_string(), namespace.inode)))?)
}
