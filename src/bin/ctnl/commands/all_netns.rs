//! `--all-netns` of the commands that read each network namespace of the host once.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use serde_json::Value;

use crate::host::namespaces::{Namespace, Namespaces};
use crate::host::procfs;
use crate::term::console::Console;

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

    /// Its members of a JSON object.
    pub fn members(&self) -> impl Iterator<Item = (String, Value)> + use<> {
        let SampledNetns { name, inode, cookie } = self;
        let members = [
            ("netns", Some(name.as_str().into())),
            ("netns_inode", Some((*inode).into())),
            ("netns_cookie", cookie.map(Value::from)),
        ];
        members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)))
    }
}

/// The namespaces of a host.
#[derive(Debug)]
pub struct AllNetns {
    host: Host,
    /// Warnings that were printed: each is printed once.
    warned: BTreeSet<String>,
}

impl AllNetns {
    /// The namespaces of `host`.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn new(host: &Host) -> Result<Self> {
        procfs::require(host, "--all-netns")?;
        Ok(AllNetns { host: host.clone(), warned: BTreeSet::new() })
    }

    /// Calls `read` with a connection to each namespace that exists now, by name, until it returns `None`.
    /// Returns what it returned, and whether none is missing. Why one is missing is printed; `what` is what
    /// cannot be done then, as in "read the statistics".
    ///
    /// # Errors
    /// The namespaces cannot be found.
    pub fn read<T>(
        &mut self,
        console: &mut Console,
        what: &str,
        mut read: impl FnMut(Connection, &SampledNetns, &mut Console) -> Result<Option<T>>,
    ) -> Result<(Vec<T>, bool)> {
        let mut namespaces = Namespaces::new(self.host.proc());
        let mut found = namespaces.refresh().context("find the network namespaces")?.appeared;
        found.sort_by_cached_key(|namespace| (namespace.name.to_string(), namespace.inode));
        let unreadable = namespaces.unreadable();
        if unreadable > 0 {
            self.warn(console, format!("cannot read the namespaces of {unreadable} processes (needs CAP_SYS_PTRACE)"));
        }
        let (mut results, mut is_complete) = (Vec::new(), unreadable == 0);
        for namespace in &found {
            match open(namespace).and_then(|(connection, netns)| read(connection, &netns, console)) {
                Ok(Some(result)) => results.push(result),
                Ok(None) => return Ok((results, false)),
                Err(error) => {
                    is_complete = false;
                    self.warn(console, format!("cannot {what} of {}: {error:#}", namespace.name));
                }
            }
        }
        Ok((results, is_complete))
    }

    fn warn(&mut self, console: &mut Console, text: String) {
        if !self.warned.contains(&text) {
            console.warn(&text);
            self.warned.insert(text);
        }
    }
}

fn open(namespace: &Namespace) -> Result<(Connection, SampledNetns)> {
    let netns = namespace.open()?;
    let connection = Connection::open(&netns)?;
    let cookie = netns.run(Netns::current_cookie)?.context("read the cookie of the namespace")?;
    Ok((connection, SampledNetns { name: namespace.name.to_string(), inode: namespace.inode, cookie }))
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
