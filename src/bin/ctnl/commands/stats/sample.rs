//! The figures of one namespace, or of all.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use ctnl::host::Host;
use ctnl::netlink::{Connection, Error, Netns};
use ctnl::table::{self, CpuStats, Occupancy};

use crate::host::namespaces::{Namespace, Namespaces};
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

/// A namespace at the time of a sample. Nothing keeps it until the next sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampledNetns {
    /// Its name, which another one can have in the next sample.
    pub name: String,
    /// Its inode number, which another one can have once it is gone.
    pub inode: u64,
    /// No other namespace has its cookie until the next boot. `None` before Linux 5.14.
    pub cookie: Option<u64>,
}

impl SampledNetns {
    /// Whether it is the namespace of another sample. Before Linux 5.14 a namespace that has the inode number of
    /// one that was deleted between the samples is taken for it.
    pub fn is_same(&self, other: &SampledNetns) -> bool {
        (self.inode, self.cookie) == (other.inode, other.cookie)
    }
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

fn sample(connection: &mut Connection, netns: Option<SampledNetns>) -> Result<Sample, Error> {
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
    let netns = namespace.open()?;
    let mut connection = Connection::open(&netns)?;
    let cookie = netns.run(Netns::current_cookie)?.context("read the cookie of the namespace")?;
    let sampled = SampledNetns { name: namespace.name.to_string(), inode: namespace.inode, cookie };
    Ok(sample(&mut connection, Some(sampled))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_with_the_inode_number_of_a_deleted_one_is_another_and_with_another_name_it_is_the_same() {
        let sampled = |name: &str, cookie| SampledNetns { name: name.into(), inode: 7, cookie };
        assert!(sampled("a", Some(1)).is_same(&sampled("b", Some(1))));
        assert!(!sampled("a", Some(1)).is_same(&sampled("a", Some(2))));
        assert!(sampled("a", None).is_same(&sampled("b", None)));
    }
}
