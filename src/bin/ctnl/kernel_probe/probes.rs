//! What the rows read: the private namespace and the table in it.

use anyhow::Result;
use ctnl::host::Host;
use ctnl::model::{Flow, Protocol};
use ctnl::wire::Family;
use nix::errno::Errno;

use super::fact::Value;
use super::made_up_table::{Fill, Made, MadeUpTable, Selected};
use super::private_netns::{PrivateNetns, Recorded};

/// The private namespace, and the table in it.
#[derive(Debug)]
pub struct Probes {
    pub netns: PrivateNetns,
    pub table: MadeUpTable,
    /// Whether the entries were created with these on, or why not.
    pub counters: Result<bool, String>,
    pub timestamps: Result<bool, String>,
    pub host: Host,
}

/// The part of the table that a request has selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The entry that the request describes.
    Match,
    /// All other entries of the family.
    Others,
    /// All entries of the protocol.
    Protocol,
    /// All entries of the family.
    Family,
    /// All entries.
    Table,
    /// Some.
    Some,
}

/// A request, and the entry that it describes.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub family: Family,
    pub protocol: Option<Protocol>,
    pub describes: Option<Made>,
    pub fill: Fill,
}

impl Probes {
    /// Enters the private namespace and fills its table.
    pub fn begin(host: &Host) -> Result<Self> {
        let netns = PrivateNetns::enter(host)?;
        let record = |what| netns.record(what).map_err(|error| format!("{error:#}"));
        let (counters, timestamps) = (record(Recorded::Counters), record(Recorded::Timestamps));
        let table = MadeUpTable::fill(&netns)?;
        Ok(Probes { netns, table, counters, timestamps, host: host.clone() })
    }

    /// The value of a request by dump.
    pub fn dump(&mut self, request: Request, word: fn(Part) -> &'static str) -> Result<Value> {
        self.select(request, word, |table| table.dump(request.family, request.fill))
    }

    /// The value of a request by flush.
    pub fn flush(&mut self, request: Request, word: fn(Part) -> &'static str) -> Result<Value> {
        self.select(request, word, |table| table.flush(request.family, request.fill))
    }

    fn select(
        &mut self,
        request: Request,
        word: fn(Part) -> &'static str,
        send: impl FnOnce(&mut MadeUpTable) -> Result<Selected>,
    ) -> Result<Value> {
        if let Some(errno) = request.describes.and_then(|made| self.table.stored(made).err()) {
            return Ok(Value::Unknown(format!("the entry for it was refused: {errno:?}: {}", errno.desc())));
        }
        Ok(match send(&mut self.table)? {
            Selected::Refused(errno) => Value::Refused(errno),
            Selected::Entries(entries) => Value::Word(word(self.part(request, &entries))),
        })
    }

    fn part(&self, request: Request, selected: &[Made]) -> Part {
        let family = self.table.of(request.family, None);
        let others: Vec<Made> = family.iter().copied().filter(|made| Some(*made) != request.describes).collect();
        let protocol = request.protocol.map(|protocol| self.table.of(request.family, Some(protocol)));
        if selected == self.table.of(Family::UNSPEC, None) {
            Part::Table
        } else if selected == family {
            Part::Family
        } else if request.describes.is_some_and(|made| selected == [made]) {
            Part::Match
        } else if protocol.is_some_and(|all| selected == all) {
            Part::Protocol
        } else if selected == others {
            Part::Others
        } else {
            Part::Some
        }
    }

    /// The value of what the stored entry `made` shows; the kernel's error where it was refused.
    pub fn stored(
        &self,
        made: Made,
        value: impl FnOnce(&Flow) -> Value,
        refused: impl FnOnce(Errno) -> Value,
    ) -> Value {
        self.table.stored(made).map_or_else(refused, value)
    }

    /// A setting as a number; `absent` where the kernel does not have it.
    pub fn setting(&self, name: &str, absent: &'static str) -> Value {
        match self.netns.setting(name) {
            Ok(Some(number)) => Value::Number(number),
            Ok(None) => Value::Word(absent),
            Err(error) => Value::Unknown(format!("{error:#}")),
        }
    }
}
