//! `ctnl tune confirm`.

use anyhow::{Result, bail};
use ctnl::host::Host;

use super::pending::{self, Fate};
use super::report::Outcome;
use super::run::Env;
use super::target::{Opened, TargetArgs};
use crate::term::exit::Exit;
use crate::term::interrupt::Interrupt;
use crate::tune::{State, boot_id};

const EXAMPLES: &str = "\
Examples:
  ctnl tune confirm
      The operation that waits.
  ctnl tune confirm 7

Exit codes: 0 confirmed; 1 nothing waits, or its files could not be written and all of it was rolled back; 3 a part could
not be rolled back, or entries could not be changed.";

/// Confirm an operation that is rolled back otherwise
///
/// Writes the files of --persist, and lowers the timeouts of existing entries where --existing was given.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The operation [default: the one that waits]
    #[arg(value_name = "OP")]
    op: Option<u64>,

    #[command(flatten)]
    target: TargetArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let Opened { target, log, mut console } = args.target.open(host)?;
    let operations = log.read()?.operations;
    let waiting = operations
        .iter()
        .rfind(|operation| operation.state == State::Waiting && args.op.is_none_or(|op| op == operation.begun.op));
    let Some(operation) = waiting else {
        pending::warn(&target, &log, &mut console, None)?;
        match operations.iter().rfind(|operation| args.op.is_none_or(|op| op == operation.begun.op)) {
            Some(last) => {
                bail!("operation {} does not wait for a confirmation: it is {}", last.begun.op, last.state.name())
            }
            None => bail!("there is no operation that waits for a confirmation (log: {})", log.path().display()),
        }
    };
    let op = operation.begun.op;
    pending::warn(&target, &log, &mut console, Some(op))?;
    if Fate::of(operation, &target.host.clock, boot_id(&target.host).as_deref()) == Fate::UndoneByBoot {
        bail!("operation {op} was undone by a reboot: there is nothing to confirm");
    }
    let target = target.for_operation(operation)?;
    let interrupt = Interrupt::listen()?;
    let common = &args.target.common;
    let mut env = Env { target: &target, log: &log, common, console: &mut console, interrupt: &interrupt };
    let mut outcome = Outcome { command: "confirm", op: Some(op), ..Outcome::default() };
    env.confirm(op, &mut outcome)?;
    outcome.report(&mut console, args.target.json)
}
