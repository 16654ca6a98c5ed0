//! A conntrack table of made-up entries in the private namespace, and the requests that are tried on it.
//!
//! Before each request the table is brought back to exactly these entries: each is found by its tuple, and
//! the kernel's own count is theirs. A table with anything else in it is not touched. Neither needs a dump,
//! which walks the hash table of all namespaces.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ctnl::model::{Flow, Protocol};
use ctnl::netlink::Connection;
use ctnl::table::{self, CpuStats, Outcome};
use ctnl::wire::uapi::{ipctnl_msg_ct, nfnl_subsys};
use ctnl::wire::{AttributeWriter, Family, Header};
use nix::errno::Errno;

use super::made::{ALL, Made};
use super::private_netns::PrivateNetns;

/// An entry that the kernel has stored.
#[derive(Debug)]
struct Own {
    made: Made,
    /// As it was requested.
    requested: Flow,
    /// As it is stored: without ports where the protocol has no tracker.
    stored: Flow,
}

/// Writes the attributes of a request.
pub type Fill = fn(&mut AttributeWriter<'_>);

/// What a request selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    Entries(Vec<Made>),
    Refused(Errno),
}

/// The table.
#[derive(Debug)]
pub struct MadeUpTable {
    connection: Connection,
    own: Vec<Own>,
    refused: Vec<(Made, Errno)>,
}

impl MadeUpTable {
    /// Creates the entries, as far as this kernel accepts them.
    ///
    /// # Errors
    /// Not even a plain entry can be created, or others appear.
    pub fn fill(netns: &PrivateNetns) -> Result<Self> {
        let mut connection = netns.connect()?;
        let needed = ALL.len();
        if let Some(max @ 1..) = table::count(&mut connection)?.max.filter(|max| (*max as usize) < needed) {
            bail!("the probes need {needed} entries, and nf_conntrack_max of this host is {max}");
        }
        let mut table = MadeUpTable { connection, own: Vec::new(), refused: Vec::new() };
        for made in ALL {
            let requested = made.flow();
            match table.create(&requested)? {
                None => {
                    let stored = get(&mut table.connection, &requested)?.context("an entry is gone at once")?;
                    table.own.push(Own { made, requested, stored });
                }
                Some(errno) if made == Made::Plain => {
                    bail!("cannot create an entry in the private network namespace: {errno:?}: {}", errno.desc());
                }
                Some(errno) => table.refused.push((made, errno)),
            }
        }
        table.verify()?;
        Ok(table)
    }

    /// The entry as the kernel has stored it, or the error with which it was refused.
    pub fn stored(&self, made: Made) -> Result<&Flow, Errno> {
        match self.own.iter().find(|own| own.made == made) {
            Some(own) => Ok(&own.stored),
            None => Err(self.refused.iter().find(|(other, _)| *other == made).map_or(Errno::ENOENT, |row| row.1)),
        }
    }

    /// Those that a request for `family` can select, and of `protocol` alone where it is one.
    pub fn of(&self, family: Family, protocol: Option<Protocol>) -> Vec<Made> {
        let is_one = |own: &&Own| {
            (family == Family::UNSPEC || own.stored.family == family)
                && protocol.is_none_or(|protocol| own.stored.orig.protocol == protocol)
        };
        self.own.iter().filter(is_one).map(|own| own.made).collect()
    }

    /// Dumps with the attributes of `fill`: the entries that the kernel returns.
    ///
    /// # Errors
    /// The table is not as it was made; a socket call failed.
    pub fn dump(&mut self, family: Family, fill: Fill) -> Result<Selected> {
        self.restore()?;
        let (mut found, mut foreign) = (Vec::new(), false);
        let own = &self.own;
        let mut each = |message: &ctnl::wire::Message<'_>| {
            let flow = Flow::decode(message)?;
            match own.iter().find(|own| is_same(&own.stored, &flow)) {
                Some(own) => found.push(own.made),
                None => foreign = true,
            }
            Ok(())
        };
        let dumped = (|| {
            let mut dump = self.connection.dump("dump", header(ipctnl_msg_ct::GET, family), fill)?;
            while dump.next_datagram(&mut each)? {}
            Ok(())
        })();
        if foreign {
            bail!("the private network namespace has an entry that was not made here");
        }
        // An entry may come twice.
        found.sort_unstable();
        found.dedup();
        selected(dumped, found)
    }

    /// Deletes without a tuple, with the attributes of `fill`: the entries that are gone then.
    ///
    /// This is the one request of ctnl that deletes what it does not name. It goes to the private namespace
    /// alone: the connection is of no other.
    ///
    /// # Errors
    /// The table is not as it was made; a socket call failed.
    pub fn flush(&mut self, family: Family, fill: Fill) -> Result<Selected> {
        self.restore()?;
        let answer = self.connection.request("flush", header(ipctnl_msg_ct::DELETE, family), fill, |_| Ok(()));
        let mut gone = Vec::new();
        for own in &self.own {
            if !is_there(&mut self.connection, own)? {
                gone.push(own.made);
            }
        }
        match selected(answer, gone.clone())? {
            // Refused, and carried out.
            Selected::Refused(_) if !gone.is_empty() => Ok(Selected::Entries(gone)),
            selected => Ok(selected),
        }
    }

    /// Changes the entry `made`: the kernel's error, if it refuses.
    ///
    /// # Errors
    /// The table is not as it was made; there is no such entry; a socket call failed.
    pub fn update(&mut self, made: Made, fill: Fill) -> Result<Option<Errno>> {
        self.restore()?;
        let flow = self.stored(made).map_err(|errno| anyhow::anyhow!("the entry was refused: {errno:?}"))?.clone();
        let fill = |writer: &mut AttributeWriter<'_>| {
            flow.orig.emit(writer, ctnl::wire::uapi::cta::TUPLE_ORIG);
            fill(writer);
        };
        match self.connection.request("update", header(ipctnl_msg_ct::NEW, flow.family), fill, |_| Ok(())) {
            Ok(()) => Ok(None),
            Err(error) => Ok(Some(refusal(error)?)),
        }
    }

    /// The statistics of the namespace.
    ///
    /// # Errors
    /// A socket call failed.
    pub fn stats(&mut self) -> Result<Vec<CpuStats>> {
        Ok(table::stats(&mut self.connection)?)
    }

    /// Creates again what an earlier request has deleted, and verifies the whole table.
    fn restore(&mut self) -> Result<()> {
        let mut missing = Vec::new();
        for own in &self.own {
            if !is_there(&mut self.connection, own)? {
                missing.push(own.requested.clone());
            }
        }
        for flow in &missing {
            if let Some(errno) = self.create(flow)? {
                bail!("cannot create an entry again in the private network namespace: {errno:?}: {}", errno.desc());
            }
        }
        self.verify()
    }

    /// Fails unless the table has exactly the entries that were made.
    fn verify(&mut self) -> Result<()> {
        let made = self.own.len() as u64;
        for own in &self.own {
            if !is_there(&mut self.connection, own)? {
                bail!("the entry {:?} of the private network namespace is gone: stopped", own.made);
            }
        }
        let mut counted = 0;
        // An entry that was deleted is counted until its last user is done.
        for _ in 0..100 {
            counted = u64::from(table::count(&mut self.connection)?.entries);
            if counted == made {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("the private network namespace has {counted} entries instead of the {made} that were made: stopped");
    }

    /// Creates an entry: the kernel's error, if it refuses.
    fn create(&mut self, flow: &Flow) -> Result<Option<Errno>> {
        let mut outcome = Outcome::default();
        table::create(&mut self.connection, std::slice::from_ref(flow), &mut outcome)?;
        Ok(outcome.failed.keys().next().map(|errno| Errno::from_raw(*errno)))
    }
}

fn get(connection: &mut Connection, flow: &Flow) -> Result<Option<Flow>> {
    Ok(table::get(connection, &flow.orig, flow.zone_both.unwrap_or(0))?)
}

fn is_there(connection: &mut Connection, own: &Own) -> Result<bool> {
    Ok(get(connection, &own.stored)?.is_some_and(|found| is_same(&found, &own.stored)))
}

fn is_same(one: &Flow, other: &Flow) -> bool {
    one.orig == other.orig && one.zone() == other.zone()
}

fn header(command: u8, family: Family) -> Header {
    Header { subsystem: nfnl_subsys::CTNETLINK, command, flags: 0, family, sequence: 0 }
}

fn selected(answer: Result<(), ctnl::netlink::Error>, entries: Vec<Made>) -> Result<Selected> {
    match answer {
        Ok(()) => Ok(Selected::Entries(entries)),
        Err(error) => Ok(Selected::Refused(refusal(error)?)),
    }
}

/// The kernel's error; others are returned.
fn refusal(error: ctnl::netlink::Error) -> Result<Errno> {
    match error {
        ctnl::netlink::Error::Refused(refused) => Ok(refused.errno),
        error => Err(error.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::fake;
    use crate::kernel_probe::requests::{by_mark, timeout};

    /// A table of one made-up entry over a made-up kernel, which has `flow` instead and counts `counted`.
    fn table(flow: Flow, counted: u32) -> (MadeUpTable, Arc<Mutex<Vec<u8>>>) {
        let sent = Arc::default();
        let connection = fake::table_with_one(flow, counted, Arc::clone(&sent));
        let requested = Made::Plain.flow();
        let own = vec![Own { made: Made::Plain, stored: requested.clone(), requested }];
        (MadeUpTable { connection, own, refused: Vec::new() }, sent)
    }

    #[test]
    fn nothing_is_deleted_from_a_table_with_one_entry_more_than_was_made() {
        let (mut table, sent) = table(Made::Plain.flow(), 2);
        let error = table.flush(Family::UNSPEC, by_mark).unwrap_err().to_string();
        assert_eq!(error, "the private network namespace has 2 entries instead of the 1 that were made: stopped");
        assert!(table.dump(Family::UNSPEC, by_mark).is_err());
        assert!(table.update(Made::Plain, timeout).is_err());
        assert!(sent.lock().unwrap().iter().all(|command| *command != ipctnl_msg_ct::DELETE));
    }

    #[test]
    fn a_flush_is_sent_where_the_table_is_what_was_made() {
        let (mut table, sent) = table(Made::Plain.flow(), 1);
        table.flush(Family::UNSPEC, by_mark).unwrap();
        assert_eq!(sent.lock().unwrap().iter().filter(|command| **command == ipctnl_msg_ct::DELETE).count(), 1);
    }

    #[test]
    fn nothing_is_deleted_from_a_table_with_another_entry_than_was_made() {
        let (mut table, sent) = table(fake::flow(9), 1);
        let error = table.flush(Family::UNSPEC, by_mark).unwrap_err().to_string();
        assert_eq!(error, "the entry Plain of the private network namespace is gone: stopped");
        assert!(sent.lock().unwrap().iter().all(|command| *command != ipctnl_msg_ct::DELETE));
    }

    #[test]
    fn each_made_up_entry_has_addresses_of_its_own() {
        let mut addresses: Vec<_> = ALL.iter().map(|made| made.addresses()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), ALL.len());
    }
}
