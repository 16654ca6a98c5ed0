//! Operations that are neither finished nor undone: every subcommand names them.

use std::time::Duration;

use anyhow::Result;
use ctnl::clock::Clock;
use jiff::Timestamp;

use super::target::Target;
use crate::term::console::Console;
use crate::tune::{Log, Operation, State, boot_id};

/// What became of an operation that waits, or whose process ended in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its time is not over.
    Waits(Duration),
    /// Its time is over, and nothing rolled it back.
    Overdue,
    /// It was begun, and its process ended or is at work.
    Unfinished,
    /// The host was booted since, which undid it: its files are not written before the confirmation.
    UndoneByBoot,
    /// It is finished.
    None,
}

impl Fate {
    /// The fate of `operation`.
    pub fn of(operation: &Operation, clock: &Clock, boot: Option<&str>) -> Self {
        let is_earlier_boot = boot.is_some() && operation.begun.boot_id.as_deref().is_some_and(|id| Some(id) != boot);
        match operation.state {
            State::Waiting if is_earlier_boot => Fate::UndoneByBoot,
            State::Waiting => left(operation, clock).map_or(Fate::Overdue, Fate::Waits),
            State::Unfinished => Fate::Unfinished,
            _ => Fate::None,
        }
    }

    /// It for a message, with what to do.
    pub fn describe(self, operation: &Operation) -> Option<String> {
        let number = operation.begun.op;
        let what = operation.describe_changes();
        Some(match self {
            Fate::Waits(left) => format!(
                "operation {number} ({what}) is rolled back in {} s unless it is confirmed\n  hint: ctnl tune confirm \
                 {number}, or ctnl tune revert {number}",
                left.as_secs()
            ),
            Fate::Overdue => format!(
                "operation {number} ({what}) was not confirmed, and the process that rolls it back was killed: it is in \
                 force\n  hint: ctnl tune revert {number}, or ctnl tune confirm {number}"
            ),
            Fate::Unfinished => format!(
                "operation {number} ({what}) was begun and not finished: its process was killed, unless it runs now; a part \
                 of it may be in force\n  hint: ctnl tune revert {number} puts back what was before"
            ),
            Fate::UndoneByBoot | Fate::None => return None,
        })
    }
}

/// The process that watches begins a moment after the operation, and rolls back under a lock.
const GRACE: u64 = 5;

/// How long it may still be confirmed; `None` when it should have been rolled back.
fn left(operation: &Operation, clock: &Clock) -> Option<Duration> {
    let begun: Timestamp = operation.begun.time.parse().ok()?;
    let begun = u64::try_from(begun.as_second()).ok()?;
    let now = clock.now().realtime.seconds().0;
    let end = begun.saturating_add(operation.begun.confirm_within?);
    (now <= end.saturating_add(GRACE)).then(|| Duration::from_secs(end.saturating_sub(now)))
}

/// Names what is pending, and what of the log cannot be read.
///
/// # Errors
/// The log cannot be read.
pub fn warn(target: &Target, log: &Log, console: &mut Console, except: Option<u64>) -> Result<Vec<Operation>> {
    let contents = log.read()?;
    let boot = boot_id(&target.host);
    if contents.unreadable > 0 {
        console.warn(&format!(
            "{} lines of {} are no records (a crash while one was written leaves such a line)",
            contents.unreadable,
            log.path().display()
        ));
    }
    for operation in contents.operations.iter().filter(|operation| Some(operation.begun.op) != except) {
        if let Some(text) = Fate::of(operation, &target.host.clock, boot.as_deref()).describe(operation) {
            console.warn(&text);
        }
    }
    Ok(contents.operations)
}

/// The operation that keeps another one from being begun.
pub fn blocking<'o>(operations: &'o [Operation], target: &Target) -> Option<&'o Operation> {
    let boot = boot_id(&target.host);
    operations.iter().rfind(|operation| {
        matches!(
            Fate::of(operation, &target.host.clock, boot.as_deref()),
            Fate::Waits(_) | Fate::Overdue | Fate::Unfinished
        )
    })
}

#[cfg(test)]
mod tests {
    use ctnl::clock::Time;
    use ctnl::units::Nanos;

    use super::*;
    use crate::tune::Begun;

    fn waiting(boot: &str) -> Operation {
        let begun = Begun {
            op: 4,
            time: "2023-11-14T22:13:20Z".into(),
            confirm_within: Some(60),
            boot_id: Some(boot.into()),
            ..Begun::default()
        };
        Operation { state: State::Waiting, ..Operation::new(begun) }
    }

    fn fate(operation: &Operation, seconds: u64, boot: &str) -> Fate {
        let time = Time { realtime: Nanos((1_700_000_000 + seconds) * Nanos::PER_SECOND), ..Time::default() };
        Fate::of(operation, &Clock::from_fn(move || time), Some(boot))
    }

    #[test]
    fn an_operation_waits_for_its_time_and_is_overdue_then_unless_the_host_was_booted() {
        let operation = waiting("a");
        assert_eq!(fate(&operation, 20, "a"), Fate::Waits(Duration::from_secs(40)));
        assert_eq!(fate(&operation, 62, "a"), Fate::Waits(Duration::ZERO));
        assert_eq!(fate(&operation, 66, "a"), Fate::Overdue);
        assert_eq!(fate(&operation, 20, "b"), Fate::UndoneByBoot);
    }

    #[test]
    fn what_is_pending_is_named_with_the_command_that_ends_it() {
        let text = fate(&waiting("a"), 70, "a").describe(&waiting("a")).unwrap_or_default();
        assert!(text.contains("operation 4") && text.contains("ctnl tune revert 4"), "{text}");
        let killed = Operation::new(waiting("a").begun);
        assert_eq!(fate(&killed, 1, "a"), Fate::Unfinished);
        let confirmed = Operation { state: State::Confirmed, ..waiting("a") };
        assert_eq!(fate(&confirmed, 1, "a").describe(&confirmed), None);
    }
}
