//! `-I` and `-A`: create an entry.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use ctnl::host::Host;
use ctnl::model::Flow;
use ctnl::netlink::{self, Connection, Netns};
use ctnl::table::{Outcome, create, create_missing, create_or_update};

use super::{entry, message};
use crate::conntrack_syntax::{Command, Request};
use crate::host::timeout_notes::{self, WrittenTimeout};
use crate::term::exit::Exit;

/// Runs the command.
pub fn run(request: &Request, host: &Host) -> Result<Exit> {
    let flow = entry::flow(request, host)?;
    let (mut connection, mut outcome) = (Connection::open(&Netns::Current)?, Outcome::default());
    match request.command {
        Command::Add => Additions::new(host).send(&mut connection, &[flow], &mut outcome)?,
        _ => create(&mut connection, &[flow], &mut outcome)?,
    }
    check(&outcome, request.command)?;
    let verb = if request.command == Command::Add { "added" } else { "created" };
    Ok(message::counted(outcome.done, &format!("flow entries have been {verb}")))
}

/// # Errors
/// The kernel refused one of the requests: the first error of them.
pub fn check(outcome: &Outcome, command: Command) -> Result<()> {
    let gone = (outcome.gone > 0).then_some(nix::errno::Errno::ENOENT as i32);
    match gone.or_else(|| outcome.failed.keys().next().copied()) {
        Some(errno) => Err(anyhow!("{}", message::explain(errno, command))),
        None => Ok(()),
    }
}

/// Different timeouts of which a run leaves notes: a file may have one for each entry of the table.
const MOST_NOTES: usize = 64;

/// `-A`: creates entries, and updates those that exist. The timeouts that these get are noted before, as those of
/// `-U` are: otherwise an entry in use would look idle for the time by which its timeout was shortened.
#[derive(Debug)]
pub struct Additions {
    host: Host,
    written: BTreeMap<u32, WrittenTimeout>,
    has_warned: bool,
}

impl Additions {
    pub fn new(host: &Host) -> Self {
        Additions { host: host.clone(), written: BTreeMap::new(), has_warned: false }
    }

    /// Sends `flows`.
    pub fn send(
        &mut self,
        connection: &mut Connection,
        flows: &[Flow],
        outcome: &mut Outcome,
    ) -> Result<(), netlink::Error> {
        let mut existing = Vec::new();
        create_missing(connection, flows, outcome, &mut existing)?;
        if existing.is_empty() {
            return Ok(());
        }
        let flows: Vec<Flow> = existing.iter().filter_map(|place| flows.get(*place).cloned()).collect();
        flows.iter().for_each(|flow| self.note(connection.netns(), flow.timeout.unwrap_or(0)));
        create_or_update(connection, &flows, outcome)
    }

    fn note(&mut self, netns: &Netns, seconds: u32) {
        if self.written.contains_key(&seconds) {
            return;
        }
        let why = if self.written.len() < MOST_NOTES {
            let written = WrittenTimeout::new(netns, &self.host, seconds);
            let begun = written.begin().err().map(|error| error.to_string());
            self.written.insert(seconds, written);
            begun
        } else {
            Some(format!("more than {MOST_NOTES} different ones"))
        };
        if let Some(why) = why.filter(|_| !std::mem::replace(&mut self.has_warned, true)) {
            let folder = timeout_notes::FOLDER;
            message::note(&format!(
                "WARNING: cannot note the written timeouts in {folder}: {why}: entries that were updated may look idle"
            ));
        }
    }
}
