//! `ctnl tune watch`, which `ctnl tune set --confirm-within` starts: no command for people.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ctnl::host::Host;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM};

use super::run::not_confirmed;
use super::target::{Target, TargetArgs};
use crate::term::exit::Exit;
use crate::tune::{
    Begun, End, HostPlaces, Locked, Log, Operation, Seen, Session, WaitEnd, detach, is_applier_alive, report_ready,
    undo, wait,
};

/// Time between two attempts to get the lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// Roll an operation back unless it is confirmed in time
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The operation
    #[arg(value_name = "OP")]
    op: u64,

    #[command(flatten)]
    target: TargetArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    detach()?;
    let terminated = handle_signals().context("handle signals")?;
    let target = args.target.target(host)?;
    let log = Log::of(&target.host);
    let operation = log.read()?.find(args.op).cloned();
    let operation = operation.with_context(|| format!("there is no operation {}", args.op))?;
    let target = target.for_operation(&operation)?;
    let Some(seconds) = operation.begun.confirm_within else { bail!("operation {} waits for nothing", args.op) };
    let clock = &target.host.clock;
    let deadline = clock.now().monotonic.plus(ctnl::units::Seconds(seconds).into());
    let mut places = target.places();
    report_ready()?;
    let look = || {
        // Before the log is read: what it had written when it ended is in the log then.
        let is_applier_alive = is_applier_alive();
        let state = log.read().ok().and_then(|contents| Some(contents.find(args.op)?.state));
        Seen { state, is_applier_alive, signal: terminated.load(Ordering::Relaxed).then_some("SIGTERM") }
    };
    let why = match wait(clock, deadline, look, thread::sleep) {
        WaitEnd::Settled => return Ok(Exit::Done),
        WaitEnd::TimeOver => not_confirmed(seconds),
        WaitEnd::Abandoned => "the process that applied it ended in the middle".to_owned(),
        WaitEnd::Signal(signal) => format!("{signal} ended the process that waited for the confirmation"),
    };
    roll_back(&target, &log, &operation.begun, &mut places, &why)
}

/// A closed terminal, Ctrl-C in it and a closed pipe do not end the wait; SIGTERM ends it with the rollback.
fn handle_signals() -> std::io::Result<Arc<AtomicBool>> {
    let (ignored, terminated) = (Arc::default(), Arc::default());
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGPIPE] {
        signal_hook::flag::register(signal, Arc::clone(&ignored))?;
    }
    signal_hook::flag::register(SIGTERM, Arc::clone(&terminated))?;
    Ok(terminated)
}

fn roll_back(target: &Target, log: &Log, begun: &Begun, places: &mut HostPlaces, why: &str) -> Result<Exit> {
    let locked = match wait_for_lock(log) {
        Ok(locked) => locked,
        Err(error) => {
            // A disk that is gone must not keep the values in force.
            undo(places, &begun.changes);
            return Err(error);
        }
    };
    // It may have been confirmed while the lock was taken.
    let operation = find(&locked, begun);
    if !operation.state.is_pending() {
        return Ok(Exit::Done);
    }
    let mut session = Session { clock: &target.host.clock, log: &locked, places, interrupted: &|| None };
    Ok(match session.roll_back(&operation, why, false) {
        End::RolledBack { not_undone, .. } if not_undone.is_empty() => Exit::Done,
        _ => Exit::Partly,
    })
}

/// The operation as the log has it. Where the log cannot be read any more, it counts as not confirmed.
fn find(locked: &Locked<'_>, begun: &Begun) -> Operation {
    let found = locked.read().ok().and_then(|contents| contents.find(begun.op).cloned());
    found.unwrap_or_else(|| Operation::new(begun.clone()))
}

/// Another process has the lock while it changes something, which does not take long.
fn wait_for_lock(log: &Log) -> Result<Locked<'_>> {
    loop {
        match log.try_lock()? {
            Some(locked) => return Ok(locked),
            None => thread::sleep(LOCK_INTERVAL),
        }
    }
}
