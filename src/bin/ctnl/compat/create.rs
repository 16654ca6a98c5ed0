//! `-I` and `-A`: create an entry.

use anyhow::{Result, anyhow};
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{Outcome, create, create_or_update};

use super::{entry, message};
use crate::conntrack_syntax::{Command, Request};
use crate::term::exit::Exit;

/// Runs the command.
pub fn run(request: &Request, host: &Host) -> Result<Exit> {
    let flow = entry::flow(request, host)?;
    let (mut connection, mut outcome) = (Connection::open(&Netns::Current)?, Outcome::default());
    match request.command {
        Command::Add => create_or_update(&mut connection, &[flow], &mut outcome)?,
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
