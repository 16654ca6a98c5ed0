//! The question before a change, and the one for its confirmation.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::target::Target;
use crate::term::console::Console;
use crate::term::interrupt::Interrupt;
use crate::tune::{Log, State};

/// How long after its time an operation may be in force before this process rolls it back instead of the one that watches.
const GRACE: Duration = Duration::from_secs(10);

/// The answer to the question whether the settings stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Keep,
    /// No, or a signal.
    RollBack,
    /// It was confirmed or rolled back elsewhere.
    Settled(State),
    /// The time is over, and nothing rolled it back.
    Overdue,
    /// The terminal is gone: the process that watches rolls it back when its time is over.
    TerminalGone,
}

/// Asks whether to change what was shown. True where nobody is to be asked.
pub fn may_begin(console: &mut Console, yes: bool, interrupt: &Interrupt) -> Result<bool> {
    if yes || !console.can_ask() {
        return Ok(true);
    }
    console.ask("Change these settings?", || interrupt.requested()).context("read the answer")
}

/// Asks whether the settings of operation `op` stay, for `seconds`.
pub fn stay(
    target: &Target,
    log: &Log,
    op: u64,
    seconds: u64,
    console: &mut Console,
    interrupt: &Interrupt,
) -> Result<Answer> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let settled = Cell::new(None);
    let is_over = || {
        settled.set(settled_state(log, op));
        interrupt.requested() || settled.get().is_some() || Instant::now() >= end
    };
    let prompt = format!(
        "In force. They are rolled back in {seconds} s unless you type y (or `ctnl tune confirm{}` elsewhere); n rolls \
         back now: ",
        target.root.as_ref().map_or_else(String::new, |root| format!(" --root {}", root.display()))
    );
    let mut answer = console.read_answer(&prompt, is_over);
    // An Enter that was meant for something else is no answer.
    while matches!(&answer, Ok(Some(text)) if keeps(text).is_none()) {
        answer = console.read_answer("y keeps them, n rolls back now: ", is_over);
    }
    if let Some(state) = settled.get() {
        return Ok(Answer::Settled(state));
    }
    Ok(match (answer, interrupt.name()) {
        (_, Some("SIGHUP")) | (Err(_), None) => Answer::TerminalGone,
        (_, Some(_)) => Answer::RollBack,
        (Ok(Some(text)), None) if keeps(&text) == Some(true) => Answer::Keep,
        (Ok(Some(_)), None) => Answer::RollBack,
        (Ok(None), None) if Instant::now() < end => Answer::TerminalGone,
        (Ok(None), None) => wait_for_rollback(log, op),
    })
}

/// What an answer says; `None` where it is neither yes nor no.
fn keeps(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

fn settled_state(log: &Log, op: u64) -> Option<State> {
    let state = log.read().ok()?.find(op)?.state;
    (!state.is_pending()).then_some(state)
}

/// The time is over: the process that watches rolls it back.
fn wait_for_rollback(log: &Log, op: u64) -> Answer {
    let end = Instant::now() + GRACE;
    while Instant::now() < end {
        if let Some(state) = settled_state(log, op) {
            return Answer::Settled(state);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Answer::Overdue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_keeps_the_settings_and_an_empty_line_is_no_answer() {
        assert_eq!(["y", "YES"].map(keeps), [Some(true); 2]);
        assert_eq!(["n", "No"].map(keeps), [Some(false); 2]);
        assert_eq!(["", "ls", "yy"].map(keeps), [None; 3]);
    }
}
