//! What the rows read: the private namespace and the table in it.

use anyhow::Result;
use ctnl::host::Host;
use ctnl::model::{Flow, Protocol};
use ctnl::wire::Family;
use nix::errno::Errno;

use super::fact::Value;
use super::made::Made;
use super::made_up_table::{Fill, MadeUpTable, Selected};
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
    Some,
    Nothing,
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
        let protocol = request.protocol.map(|protocol| self.table.of(request.family, Some(protocol)));
        let all = self.table.of(Family::UNSPEC, None);
        part(request.describes, selected, &[all, family], protocol.as_deref())
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

/// Which part `selected` is: of all entries, of those of the family, and of those of the protocol.
fn part(described: Option<Made>, selected: &[Made], [all, family]: &[Vec<Made>; 2], protocol: Option<&[Made]>) -> Part {
    let others = family.iter().filter(|made| Some(**made) != described);
    if selected == all {
        Part::Table
    } else if selected == family {
        Part::Family
    } else if described.is_some_and(|made| selected == [made]) {
        Part::Match
    } else if protocol.is_some_and(|protocol| selected == protocol) {
        Part::Protocol
    } else if selected.iter().eq(others) {
        Part::Others
    } else if selected.is_empty() {
        Part::Nothing
    } else {
        Part::Some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_selects_is_named_by_the_largest_part_that_it_is() {
        use Made::{Assured, Plain, Sctp, V6, V6Second, V6Third};
        let all = vec![Plain, Assured, V6, V6Second, V6Third, Sctp];
        let (v4, v6) = (vec![Plain, Assured, Sctp], vec![V6, V6Second, V6Third]);
        let by_port =
            |selected: &[Made]| part(Some(Assured), selected, &[all.clone(), v4.clone()], Some(&[Plain, Assured]));
        assert_eq!(by_port(&[Assured]), Part::Match);
        assert_eq!(by_port(&[Plain, Assured]), Part::Protocol);
        assert_eq!(by_port(&v4), Part::Family);
        assert_eq!(by_port(&all), Part::Table);
        assert_eq!([by_port(&[]), by_port(&[Plain])], [Part::Nothing, Part::Some]);
        let by_address = |selected: &[Made]| part(Some(V6), selected, &[all.clone(), v6.clone()], None);
        assert_eq!(by_address(&[V6Second, V6Third]), Part::Others);
        assert_eq!(by_address(&[V6]), Part::Match);
        assert_eq!(part(None, &all, &[all.clone(), all.clone()], None), Part::Table);
    }
}
