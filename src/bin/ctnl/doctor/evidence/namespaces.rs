//! The entries of each network namespace of the host: nf_conntrack_max is one number, with which the entries of each
//! namespace are compared.

use anyhow::Context;
use ctnl::host::Host;
use ctnl::netlink::Connection;
use ctnl::table::{self, Occupancy};

use super::Reading;
use super::occupancy::with_maximum;
use crate::host::namespaces::{Namespace, Namespaces};

/// The namespaces of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceTables {
    /// Those whose entries were counted, by name.
    pub counted: Vec<NamespaceTable>,
    /// The others: name and reason.
    pub unreadable: Vec<(String, String)>,
    /// Processes whose namespace could not be read, for want of CAP_SYS_PTRACE: a namespace that only those are in is
    /// not found.
    pub hidden_processes: usize,
}

/// The table of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceTable {
    /// Its name.
    pub name: String,
    /// What `--netns` takes for it; `None` where it has no name that is reachable.
    pub argument: Option<String>,
    /// The namespace that this program is in.
    pub is_own: bool,
    /// Its entries, and the maximum.
    pub occupancy: Occupancy,
}

impl NamespaceTables {
    /// Counts the entries of each namespace, without a dump.
    ///
    /// # Errors
    /// /proc is not mounted, or cannot be read.
    pub fn read(host: &Host) -> Reading<Self> {
        let mut namespaces = Namespaces::new(host.proc());
        let found = namespaces.refresh().map_err(|error| format!("find the network namespaces: {error}"))?.appeared;
        let mut tables = NamespaceTables { hidden_processes: namespaces.unreadable(), ..NamespaceTables::default() };
        for namespace in &found {
            let name = namespace.name.to_string();
            match count(namespace) {
                Ok(occupancy) => tables.counted.push(NamespaceTable {
                    name,
                    argument: namespace.argument(),
                    is_own: namespace.is_own(),
                    occupancy: with_maximum(host, occupancy),
                }),
                Err(error) => tables.unreadable.push((name, format!("{error:#}"))),
            }
        }
        tables.counted.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tables)
    }
}

fn count(namespace: &Namespace) -> anyhow::Result<Occupancy> {
    let netns = namespace.open()?;
    let mut connection = Connection::open(&netns)?;
    table::count(&mut connection).context("count its entries")
}
